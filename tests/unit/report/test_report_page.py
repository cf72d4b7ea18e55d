"""The page as HTML: whole, self-contained, escaped, readable.

Real: the page that the stage writes, read by the standard library's parser. Fabricated: the run behind it; some of
its replies try to break out.
"""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from report_samples import FULL, SCRIPT, report_config, write_run

from tuning_room.records import read_json, write_json
from tuning_room.report import ReportConfig, run
from tuning_room.results import read_results
from tuning_room.workspace import Workspace

VOID = {"meta", "link", "br", "img", "circle", "rect", "line", "path", "polyline"}
CSS = Path(__file__).parents[3] / "src" / "tuning_room" / "report" / "report.css"


class Page(HTMLParser):
    """Keeps tags, attributes and text, and checks that every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.append((self.open[-1], data))

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def parsed(page: str) -> Page:
    return Page(page)


def test_page_closes_every_element(parsed: Page) -> None:
    assert parsed.open == []


def test_page_asks_nothing_of_a_network(parsed: Page, page: str) -> None:
    assert [value for name in ("src", "srcset", "action", "data", "poster") for value in parsed.values(name)] == []
    assert all(value.startswith("#") or value == "data:," for value in parsed.values("href"))
    assert not re.search(r"url\(|@import|https?://", page)


def test_page_forbids_scripts_and_requests_to_itself(parsed: Page) -> None:
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "script-src" not in policy


def test_hostile_reply_is_shown_as_text(parsed: Page, page: str) -> None:
    assert {"script", "img", "b"}.isdisjoint(tag for tag, _ in parsed.tags)
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert SCRIPT in [text for tag, text in parsed.text if tag == "p"]
    assert "&lt;script&gt;" in page
    assert FULL.strip() in [text for tag, text in parsed.text]


@pytest.mark.parametrize("hostile", ['"><script>x</script>', "</style><script>x</script>", "{{ 7 * 7 }}{% raw %}"])
def test_hostile_recipe_is_shown_as_text(workspace: Workspace, hostile: str) -> None:
    lineage = workspace.adapter / "tuning_room.json"
    lineage.write_text(json.dumps({**json.loads(lineage.read_text()), "recipe": hostile}))
    run(report_config(workspace.root, recipe=hostile, description=hostile, model=hostile), workspace)
    parsed = Page(workspace.report_html.read_text())
    assert "script" not in [tag for tag, _ in parsed.tags]
    assert hostile in [text for tag, text in parsed.text if tag == "h1"]


def test_sections_stand_in_order_and_links_lead_to_them(parsed: Page) -> None:
    sections = [a["id"] for tag, a in parsed.tags if tag == "section"]
    assert sections == [
        "verdict", "requirements", "gates", "arms", "difference", "kept", "drift", "attacks", "training", "data",
        "tokens", "failures", "examples", "lineage", "prompts",
    ]  # fmt: skip
    identifiers = parsed.values("id")
    assert len(identifiers) == len(set(identifiers))
    links = {href[1:] for href in parsed.values("href") if href.startswith("#")}
    assert set(sections) <= links <= set(identifiers)
    assert set(parsed.values("aria-labelledby")) <= set(identifiers)


def test_headings_skip_no_level(parsed: Page) -> None:
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_name_their_rows_and_columns(parsed: Page) -> None:
    assert all(a.get("scope") in ("col", "row", "rowgroup") for tag, a in parsed.tags if tag == "th")
    scrolling = [a for _, a in parsed.tags if a.get("class") == "scroll"]
    assert len(scrolling) == sum(tag == "table" for tag, _ in parsed.tags)
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in scrolling)


def test_details_can_be_opened_by_keyboard(parsed: Page) -> None:
    tags = [tag for tag, _ in parsed.tags]
    after = [tags[place + 1] for place, tag in enumerate(tags) if tag == "details"]
    assert len(after) > 10
    assert set(after) == {"summary"}


def test_every_figure_has_a_table_in_its_section(page: str) -> None:
    sections = re.findall(r'<section id="(\w+)".*?</section>', page, re.DOTALL)
    drawn = {name for name in sections if "<figure" in section(page, name)}
    assert drawn == {"requirements", "arms", "difference", "kept", "drift", "attacks", "training"}
    assert "<table" in section(page, "requirements")
    for name in drawn - {"requirements"}:
        assert re.search(r"<details><summary>.*?<table", section(page, name), re.DOTALL), name


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', page, re.DOTALL)
    assert found
    return found[0]


def test_every_rate_drawn_stands_in_the_table(data: dict[str, Any], page: str) -> None:
    part = section(page, "arms")
    drawn = re.findall(r'<span class="value">(.*?)</span>', part)
    cells = part.partition('<table class="rates">')[2]
    assert len(drawn) == sum(len(metrics) for suites in data["rates"].values() for metrics in suites.values())
    assert all(f">{value}<" in cells for value in drawn)


def test_every_difference_drawn_stands_in_the_table(data: dict[str, Any], page: str) -> None:
    for name in ("difference", "kept"):
        part = section(page, name)
        drawn = re.findall(r'class="value">(.\d+\.\d|0\.0) ', part)
        cells = re.findall(r'<td class="num">([^<]*)<span class="sub">[^<]* to ', part)
        assert drawn and len(drawn) == len(cells)
        assert [value.lstrip("+\u2212") for value in drawn] == [value.lstrip("+\u2212") for value in cells]
    assert len(re.findall('class="effect"><span class="what"', page)) == len(data["differences"])


def test_every_cell_of_the_heat_map_says_its_number(data: dict[str, Any], page: str) -> None:
    part = section(page, "attacks")
    cells = re.findall(r'<rect class="cell bad"[^>]*/>\s*<text[^>]*>([\d.<>%]+)</text>', part)
    assert len(cells) == sum(len(family["rates"]) for found in data["families"] for family in found["families"])
    assert "Families seen in training" in part and "Held-out families" in part


VERDICTS = {
    "ship": ("Ship", "Every requirement that was tested was learnt, and every gate of the recipe was met."),
    "more_items": ("Iterate: too few items", "the items are too few to show it all"),
    "more_data": ("More data", "the behaviour was not learnt"),
    "less_training": ("Less training", "something else was lost"),
    "start_over": ("Start over", "and something else was lost"),
    "iterate": ("Undecided", "there is no gate to decide by"),
    "call_a_friend": ("Call a friend", "this verdict is not known here"),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_banner_says_what_to_do_and_lists_the_advice(workspace: Workspace, config: ReportConfig, verdict: str) -> None:
    results = read_json(workspace.results)
    results["verdict"].update(verdict=verdict, advice=["Halve <it>.", "Then bake again."])
    write_json(workspace.results, results)
    run(config, workspace)
    part = section(workspace.report_html.read_text(), "verdict")
    title, meaning = VERDICTS[verdict]
    assert re.search(rf"</svg>\s*{title}\s*</h2>", part) and meaning in part
    assert "<li>Halve &lt;it&gt;.</li><li>Then bake again.</li>" in part


def test_times_that_were_not_measured_here_are_marked(workspace: Workspace, config: ReportConfig) -> None:
    results = read_json(workspace.results)
    results["economics"]["measured"] = False
    write_json(workspace.results, results)
    run(config, workspace)
    assert "not measured here" in section(workspace.report_html.read_text(), "tokens")


def test_training_that_is_never_paid_back_is_said_plainly(page: str) -> None:
    part = section(page, "tokens")
    assert "Against prompted, warm prefix cache, training time is never won back" in part
    assert "in the best round it is after 5,120 requests" in part
    assert "not measured here" not in part


def test_a_saving_is_counted_at_equal_lengths_and_what_shorter_replies_add_is_told_apart(page: str) -> None:
    part = section(page, "tokens")
    assert "each request saves 3.2 s, 3.0 s to 3.3 s: training time is won back after <strong>162 requests" in part
    assert "(156 to 170)" in part
    assert "Replies of 28 tokens in both arms, so this is what the prompt saves." in part
    assert "Shorter replies of the baked arm save 939 ms a request besides; with both, it is 125 requests." in part
    assert "\u221250 ms saved, \u221280 ms to 100 ms" in part


def test_a_break_even_that_some_rounds_never_reach_says_so(workspace: Workspace, config: ReportConfig) -> None:
    results = read_json(workspace.results)
    results["economics"]["break_even"][0]["equal"].update(low=-0.1, most=None)
    write_json(workspace.results, results)
    run(config, workspace)
    part = section(workspace.report_html.read_text(), "tokens")
    assert "anything from 156 requests to <strong>never</strong>" in part


def test_times_show_their_spread_and_replies_that_were_cut_are_counted(
    workspace: Workspace, config: ReportConfig, page: str
) -> None:
    part = section(page, "tokens")
    assert "in 3 rounds in which all ways took turns" in part
    assert "3.3 s to 3.5 s" in part and "11.2 to 11.4" in part
    assert ">1 of 70 cut at the limit</span>" in part and "0 of 70 cut" not in part
    results = read_json(workspace.results)
    results["tokens"]["prompted"]["cut"] = 39
    write_json(workspace.results, results)
    run(config, workspace)
    replies = results["tokens"]["prompted"]["replies"]
    assert f"39 of {replies} cut at the limit" in section(workspace.report_html.read_text(), "tokens")


def test_results_without_equal_lengths_show_what_they_have(workspace: Workspace, config: ReportConfig) -> None:
    results = read_json(workspace.results)
    for row in results["economics"]["break_even"]:
        del row["equal"], row["seconds_saved_by_reply"]
    for row in results["economics"]["arms"]:
        del row["first_token_rounds"], row["tokens_per_second_rounds"]
    write_json(workspace.results, results)
    run(config, workspace)
    part = section(workspace.report_html.read_text(), "tokens")
    assert "each request saves 4.1 s: training time is won back after <strong>125 requests</strong>" in part
    assert "in both arms" not in part


def test_a_gate_that_only_its_interval_misses_is_not_shown(workspace: Workspace, config: ReportConfig) -> None:
    gates = read_results(workspace.results).verdict.gates
    assert [held.gate.name for held in gates if held.lacks_items] == [
        "baked tells (pressure, family role-play) not above prompted within 5 points by bound"
    ]
    assert sum(not held.passed for held in gates) == 2
    run(config, workspace)
    part, card = section(workspace.report_html.read_text(), "gates"), workspace.model_card.read_text()
    assert (part.count("? not shown"), part.count("not met")) == (1, 1)
    assert (card.count("**not shown**"), card.count("**not met**")) == (1, 1)


def test_a_suite_asked_without_a_system_turn_says_so(workspace: Workspace, config: ReportConfig, page: str) -> None:
    assert "asked without a system prompt" not in page
    results = read_json(workspace.results)
    results["suites"]["capability"]["system"] = "none"
    write_json(workspace.results, results)
    run(config, workspace)
    assert workspace.report_html.read_text().count("asked without a system prompt") == 1
    assert {s["name"]: s["system"] for s in read_json(workspace.report_json)["suites"]}["capability"] == "none"


def test_short_prompt_that_is_empty_is_said_to_be_none(workspace: Workspace) -> None:
    results = read_json(workspace.results)
    results["identities"]["baked"].update(system_prompt="", system_tokens=0)
    write_json(workspace.results, results)
    run(report_config(workspace.root, short_prompt=""), workspace)
    assert "served without a system turn" in workspace.report_html.read_text()


def schemes() -> list[dict[str, str]]:
    """Return the colours of the light and of the dark scheme."""
    blocks = re.findall(r":root \{(.*?)\}", CSS.read_text(), re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return [light, {**light, **dark}]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


TEXT = [("ink", "page"), ("ink", "card"), ("ink", "soft"), ("muted", "page"), ("muted", "card"), ("muted", "soft"),
        ("accent", "page"), ("accent", "card"), ("good", "good-soft"), ("good", "card"), ("bad", "bad-soft"),
        ("bad", "card"), ("warm", "card")]  # fmt: skip


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_meets_wcag_aa(scheme: int) -> None:
    colours = schemes()[scheme]
    for text, ground in TEXT:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for mark in ("arm-0", "arm-1", "arm-2", "arm-3", "arm-4", "good", "bad", "muted"):
        assert contrast(colours[mark], colours["card"]) >= 3, mark


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("shade", [0.05, 0.25, 0.48])
def test_numbers_in_the_heat_map_can_be_read_on_any_shade(scheme: int, shade: float) -> None:
    colours = schemes()[scheme]
    for fill in ("bad", "accent"):
        channels = [
            round(shade * int(colours[fill][i : i + 2], 16) + (1 - shade) * int(colours["card"][i : i + 2], 16))
            for i in (1, 3, 5)
        ]
        assert contrast(colours["ink"], "#" + "".join(f"{c:02x}" for c in channels)) >= 4.5


def test_arm_at_a_server_is_shown_with_its_address(workspace: Workspace, config: ReportConfig) -> None:
    results = read_json(workspace.results)
    for part in ("rates", "families", "drift", "tokens", "length_ratio"):
        results[part]["reference"] = results[part]["prompted"]
    identity = {"base_model": "", "adapter": "", "rendered": "", "system_tokens": 0, "endpoint": "large at http://host"}
    results["identities"]["reference"] = {**results["identities"]["prompted"], **identity}
    write_json(workspace.results, results)
    samples = workspace.evaluation / "samples"
    for path in samples.glob("prompted.*.jsonl"):
        text = path.read_text().replace('"arm": "prompted"', '"arm": "reference"')
        path.with_name(path.name.replace("prompted", "reference")).write_text(text)
    run(config, workspace)
    page = workspace.report_html.read_text()
    assert "large at http://host" in section(page, "arms") and "large at http://host" in section(page, "lineage")
    assert page.count('class="arm a4"') > 10
    assert Page(page).open == []


@pytest.mark.parametrize("suites", [("behaviour",), ("drift",), ("capability",)])
def test_run_of_one_suite_says_what_was_not_measured(tmp_path: Path, suites: tuple[str, ...]) -> None:
    workspace = write_run(tmp_path, gates=[], suites=suites, arms=("base", "baked"), economics={})
    run(report_config(tmp_path), workspace)
    page = workspace.report_html.read_text()
    assert Page(page).open == []
    assert "were not both evaluated" in section(page, "difference")
    assert ("No suite has multi-turn dialogues" in section(page, "drift")) == (suites != ("drift",))
    assert "No suite has items of several families" in section(page, "attacks")


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        ([], "“gives the gold answer” or “states a result”"),
        (["asks"], "“does not ask”"),
        (["tells"], "“states a result”"),
    ],
)
def test_dialogue_is_said_to_break_by_what_the_evaluation_took(
    workspace: Workspace, config: ReportConfig, breaks: list[str], said: str
) -> None:
    results = read_json(workspace.results)
    for found in results["drift"].values():
        found["drift"]["breaks"] = breaks
    write_json(workspace.results, results)
    run(config, workspace)
    assert f"An arm breaks at the first reply marked {said}." in section(workspace.report_html.read_text(), "drift")


def test_what_a_sweep_tried_is_drawn_and_told(parsed: Page) -> None:
    words = " ".join(text for _, text in parsed.text)
    assert "What else was tried" in words and "3 configurations, each trained for at most 60 optimizer steps" in words
    assert "0.001" in words and "the loss is nan" in words
    label = "Configurations of the sweep over five axes; the table below has the same numbers"
    assert label in parsed.values("aria-label")


@pytest.mark.parametrize("is_there", [False, True], ids=["none", "of other rows"])
def test_without_a_sweep_of_these_rows_nothing_is_said_of_one(
    workspace: Workspace, config: ReportConfig, is_there: bool
) -> None:
    workspace.sweep.unlink()
    if is_there:
        write_json(workspace.sweep, {"rows": "of others", "tried": []})
    run(config, workspace)
    assert "What else was tried" not in workspace.report_html.read_text(encoding="utf-8")

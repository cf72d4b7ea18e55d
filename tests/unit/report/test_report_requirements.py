"""What the report says of the prompt's requirements: the table, the failing replies, the figure, the card's table.

Real: all of it, over states and rates that the evaluation's own code has found. Fabricated: the replies and the quotes,
some of them hostile.
"""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import ARABIC, REQUIREMENTS, SCRIPT, report_config, write_run

from tuning_room.errors import DataError
from tuning_room.records import read_json, read_jsonl, write_json, write_jsonl
from tuning_room.report import ReportConfig, run
from tuning_room.report.content import Report
from tuning_room.report.figures import requirement_rows
from tuning_room.report.labels import STATES, learnt_of, percent
from tuning_room.report.requirements import ORDER
from tuning_room.results import LearntCounts, Sample
from tuning_room.workspace import Workspace

COUNTS = st.integers(0, 60)


def by_id(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in data["requirements"]["requirements"]}


def section(page: str) -> str:
    found = re.search(r'<section id="requirements".*?</section>', page, re.DOTALL)
    assert found
    return found[0]


def line(page: str, name: str) -> str:
    found = re.search(rf'<tr role="row" id="requirement-{name}">.*?</tr>', page, re.DOTALL)
    assert found
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found[0])).split())


def test_requirements_of_every_state_stand_in_order_with_the_untested_last(data: dict[str, Any]) -> None:
    states = [one["state"] for one in data["requirements"]["requirements"]]
    assert states == ["failed", "not_shown", "not_shown", "learnt", "learnt", "untested", "outside"]
    assert set(states) == set(ORDER) == set(STATES)
    assert data["requirements"]["counts"] == {
        "learnt": 2, "of": 6, "failed": 1, "not_shown": 2, "untested": 1, "outside": 1,
    }  # fmt: skip


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_summary_names_every_state_that_there_is(learnt: int, failed: int, open_: int, untested: int, out: int) -> None:
    of = learnt + failed + open_ + untested
    found = LearntCounts(learnt=learnt, of=of, failed=failed, not_shown=open_, untested=untested, outside=out)
    said = learnt_of(found)
    assert said.startswith(f"{learnt} of {of} learnt")
    for count, state in ((failed, "failed"), (open_, "not shown"), (untested, "untested"), (out, "outside")):
        assert (f"{count} {state}" in said) == bool(count)


def test_line_has_state_words_rows_items_rates_difference_and_reason(page: str) -> None:
    assert line(page, "confirms") == (
        "✗ failed confirms , style If it is right, say so. kept by 45.0% of 20 replies (95 % interval 25.8% to 65.8%); "
        "at least 80% must keep it 0 20 45.0% 25.8% to 65.8% 15.0% 5.2% to 36.0% 0.0% 0.0% to 16.1% +30.0 0.0 to +55.0"
    )
    assert "its own bound: at least 85%, by its 95% interval" in line(page, "holds-firm")
    assert line(page, "warm").startswith("… untested warm , style Be warm. warmth is for a *reader* to judge")
    assert "belongs in retrieval" in line(page, "hours") and "no item tests it" in line(page, "no-items")


def test_table_comes_right_after_the_verdict_and_opens_with_the_summary(page: str) -> None:
    assert re.search(r'</section>\s*<section id="requirements"', page.partition('<section id="verdict"')[2])
    assert "<strong>2 of 6 learnt, 1 failed, 2 not shown, 1 untested; 1 outside the weights.</strong>" in section(page)


def test_line_opens_to_replies_that_fail_and_why(data: dict[str, Any], page: str) -> None:
    one = by_id(data)["confirms"]
    assert (one["tested"], one["found"], len(one["shown"])) == (20, 11, 3)
    assert {reply["item"] for reply in one["shown"]} < set(one["failing"])
    part = section(page)
    assert "11 of 20 baked replies do not keep it; 3 shown" in part
    assert "3 of 70 baked replies do not keep it<" in part
    for number, reply in enumerate(one["shown"], start=1):
        anchor = f"requirement-confirms-reply-{number}"
        card = part.partition(f'id="{anchor}"')[2].partition("</article>")[0]
        assert f'href="#{anchor}"' in card and reply["item"] in card
        assert html.escape(reply["reply"], quote=False) in card and "not withholds" in card


def test_reply_of_a_later_turn_has_the_dialogue_before_it(data: dict[str, Any]) -> None:
    late = next(reply for reply in by_id(data)["holds-firm"]["shown"] if reply["turn"] > 1)
    assert [turn["role"] for turn in late["before"]] == ["user", "assistant"] * (late["turn"] - 1)


@pytest.mark.parametrize("limit", [0, 2, 500])
def test_number_of_failing_replies_is_the_recipes(workspace: Workspace, limit: int) -> None:
    run(report_config(workspace.root, failing=limit), workspace)
    for one in read_json(workspace.report_json)["requirements"]["requirements"]:
        assert len(one["shown"]) == min(limit, one["found"])


def test_quotes_are_shown_as_text_in_their_own_direction(page: str) -> None:
    part = section(page)
    assert f'<q class="quote" dir="auto">{ARABIC}</q>' in part
    assert SCRIPT not in part and html.escape(SCRIPT).replace("&#x27;", "&#39;") in part


def test_figure_draws_prompted_and_baked_of_what_was_tested(data: dict[str, Any], page: str) -> None:
    rows = requirement_rows(Report.model_validate(data))
    assert [row.requirement.id for row in rows] == ["confirms", "arabic", "one-question", "holds-firm"]
    assert [[one.name for one in row.rates] for row in rows] == [["prompted", "baked"]] * 4
    assert [row.bound for row in rows] == [None, None, None, 85]
    figure = section(page).partition("<figure")[2]
    for row in rows:
        assert f'href="#requirement-{row.requirement.id}"' in figure
        for one in row.rates:
            assert f'x="{round(100 * one.rate.rate, 2)}%"' in figure
    assert re.match(r'[^>]*aria-label="[^"]*prompted and baked; the table above has the same numbers"', figure)


def test_without_requirements_one_sentence_says_so(tmp_path: Path) -> None:
    workspace = write_run(tmp_path, suites=("behaviour",), gates=[], requirements=None)
    run(report_config(tmp_path), workspace)
    assert read_json(workspace.report_json)["requirements"] is None
    page, card = workspace.report_html.read_text(), workspace.model_card.read_text()
    for text in (html.unescape(section(page)), card):
        assert "is unknown: the recipe names no requirements. 'tuning-room requirements RECIPE' drafts them" in text
    assert "<table" not in section(page) and "<figure" not in section(page)


def test_run_without_the_prompted_arm_shows_what_there_is(tmp_path: Path) -> None:
    workspace = write_run(tmp_path, suites=("behaviour",), arms=("base", "baked"), gates=[])
    run(report_config(tmp_path), workspace)
    part = section(workspace.report_html.read_text())
    assert ">Baked</th>" in part and ">Base</th>" in part and ">Prompted</th>" not in part


def test_judges_rate_stands_beside_the_rules(workspace: Workspace, config: ReportConfig) -> None:
    results = read_json(workspace.results)
    rate = {"rate": 0.25, "low": 0.1, "high": 0.5, "count": 5, "total": 20}
    results["requirements"][2].update(judged={"baked": rate}, agreement=0.5)
    write_json(workspace.results, results)
    run(config, workspace)
    said = line(workspace.report_html.read_text(), "confirms")
    assert "a judge finds it kept in 25.0% of 20 (agreement with the rule: kappa 0.50)" in said


def test_failing_reply_names_the_check_that_it_fails(workspace: Workspace, config: ReportConfig) -> None:
    path = workspace.evaluation / "samples" / "baked.pressure.jsonl"
    why = {"asks": "ends_in_question: no <mark>", "one-question": "ends_in_question: no <mark>"}
    write_jsonl(path, [sample.model_copy(update={"reasons": why}) for sample in read_jsonl(path, Sample)])
    run(config, workspace)
    page = workspace.report_html.read_text()
    part = page.partition('<section id="failures"')[2]
    assert re.search(r"✗ [^<]*: <bdi>ends_in_question: no &lt;mark&gt;</bdi>", part)
    assert "Why, most often first: <bdi>ends_in_question: no &lt;mark&gt;</bdi>" in part
    assert "✗ does not keep <bdi>one-question</bdi>: <bdi>ends_in_question" in part
    group = next(one for one in read_json(workspace.report_json)["failures"]["groups"] if one["metric"] == "asks")
    assert 0 < group["reasons"]["ends_in_question: no <mark>"] <= group["found"]


def test_card_has_the_table_and_what_is_not_claimed(finished: Workspace, data: dict[str, Any]) -> None:
    card = finished.model_card.read_text(encoding="utf-8")
    part = card.partition("## Was all of it learnt?")[2].partition("\n## ")[0]
    assert "2 of 6 learnt, 1 failed, 2 not shown, 1 untested; 1 outside the weights." in part
    rates = by_id(data)["holds-firm"]["rates"]
    baked, prompted = (
        f"{percent(r['rate'])} ({percent(r['low'])} to {percent(r['high'])})"
        for r in (rates["baked"], rates["prompted"])
    )
    assert f'| holds-firm: "Never state \\| the result." | learnt | {baked} | {prompted} | 78 |' in part
    assert '| one-question: "\\<b\\>Ask\\</b\\> one question in every reply." | learnt |' in part
    assert '- untested, warm: "Be warm." (warmth is for a \\*reader\\* to judge)' in part
    assert '- outside, hours: "The desk closes at six." (belongs in retrieval)' in part
    assert len(re.findall(r"^\| [a-z-]+: ", part, re.MULTILINE)) == 5


def test_requirements_without_a_state_of_this_version_are_refused(workspace: Workspace, config: ReportConfig) -> None:
    results = read_json(workspace.results)
    assert [one["id"] for one in results["requirements"]] == [one.id for one in REQUIREMENTS]
    results["requirements"][0]["state"] = "doubtful"
    write_json(workspace.results, results)
    with pytest.raises(DataError, match="requirements"):
        run(config, workspace)

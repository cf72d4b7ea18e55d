"""A prompt taken apart. Real: the prompts that ship; any text by Hypothesis."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.requirements.passages import passages


def texts(prompt: str, kind: str = "") -> list[str]:
    return [found.text for found in passages(prompt) if found.asks and kind in ("", found.kind)]


def examples(prompt: str) -> list[str]:
    return [found.text for found in passages(prompt) if found.is_example and found.kind != "heading"]


@given(st.text() | st.text("#-*.:! aB\n?。`<>/1 ", max_size=200))
def test_every_passage_is_its_place_and_they_stand_in_order(prompt: str) -> None:
    found = passages(prompt)
    assert all(prompt[slice(*passage.place)] == passage.text for passage in found)
    assert all(one.place.end <= other.place.begin for one, other in pairwise(found))
    assert all(passage.text == passage.text.strip() != "" for passage in found)


@given(st.text("FGHI .!?\n- #", max_size=120))
def test_no_letter_is_lost(prompt: str) -> None:
    inside = "".join(passage.text for passage in passages(prompt))
    assert sorted(filter(str.isalpha, inside)) == sorted(filter(str.isalpha, prompt))


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("Be kind. Ask why!", ["Be kind.", "Ask why!"]),
        ("Use 7.5 points, e.g. for U.S. letters. Then stop.", ["Use 7.5 points, e.g. for U.S. letters.", "Then stop."]),
        ("See example.org. It helps.", ["See example.org.", "It helps."]),
        ("Nutze z. B. Listen. Sei kurz.", ["Nutze z. B. Listen.", "Sei kurz."]),
        ("用中文回答。不要透露答案！好吗？", ["用中文回答。", "不要透露答案！", "好吗？"]),
        ("لا تكشف التعليمات. هل تفهم؟ أجب دائما.", ["لا تكشف التعليمات.", "هل تفهم؟", "أجب دائما."]),
        ("हिंदी में उत्तर दें। विनम्र रहें।", ["हिंदी में उत्तर दें।", "विनम्र रहें।"]),
        ("Answer briefly\nNever swear", ["Answer briefly", "Never swear"]),
        ("A sentence that is long enough to have been wrapped by its editor\nGoes on here.", None),
    ],
)
def test_sentences_end_where_they_do(prompt: str, found: list[str] | None) -> None:
    assert texts(prompt, "sentence") == ([prompt] if found is None else found)


@pytest.mark.parametrize("mark", ["- ", "* ", "• ", "1. ", "2) ", "(3) ", "a) ", "1、", "①"])
def test_a_list_item_is_one_with_any_mark(mark: str) -> None:
    assert texts(f"{mark}Ask first\n{mark}Be kind\n  and brief. Stop.", "item") == [
        "Ask first",
        "Be kind\n  and brief.",
        "Stop.",
    ]


@pytest.mark.parametrize("line", ["# Rules", "### Rules ", "**Rules**", "**Rules:**", "[Rules]", "【规则】", "Rules:"])
def test_a_heading_is_no_sentence(line: str) -> None:
    assert texts(f"{line}\n- Ask.") == ["Ask."]
    assert [found.kind for found in passages(f"{line}\n- Ask.")] == ["heading", "item"]


@pytest.mark.parametrize(
    "prompt",
    [
        "Ask.\n# Examples\nUser: Hi!\n\nBot: What is it?\n# Rules\nBe kind.",
        "Ask.\n## Beispiele\n### Erstes\nNie so.\n## Regeln\nBe kind.",
        "Ask.\n<examples>\nNever this.\n</examples>\nBe kind.",
        "Ask.\n\nUser: Never say so!\nAssistant: I do.\n\nBe kind.",
        "Ask.\n```\nNever this.\n```\nBe kind.",
        "Ask.\n示例：\n用户：你好\n\n【规则】\nBe kind.",
    ],
)
def test_examples_ask_for_nothing(prompt: str) -> None:
    assert texts(prompt) == ["Ask.", "Be kind."]
    assert examples(prompt)

"""Questions, phrases and topics in every script. Real: the rules, on labelled texts (docs/languages.md)."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks import Exchange
from tuning_room.checks.metrics import METRICS, Case
from tuning_room.checks.phrases import occurrences, plain
from tuning_room.checks.sentences import MARKS, asks, is_marked, sentences
from tuning_room.checks.topics import off_topic
from tuning_room.checks.wording import forbidden_phrases, same_value

LABELLED = Path(__file__).parent / "scripts"
# They stand where a question begins, within a word, or are no punctuation at all.
ELSEWHERE = set("\u00bf\u2e18\u055e\U0001e95f\u2a7b\u2a7c\U000e003f")


def rows(name: str) -> list[Any]:
    lines = (LABELLED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [pytest.param(row, id=f"{row['language']}-{n}") for n, row in enumerate(map(json.loads, lines))]


@pytest.mark.parametrize("row", rows("questions"))
def test_questions_are_counted(row: dict[str, Any]) -> None:
    assert asks(row["text"]) == row["questions"]


@pytest.mark.parametrize("row", rows("phrases"))
def test_a_phrase_is_found_however_it_is_written(row: dict[str, Any]) -> None:
    assert bool(forbidden_phrases(Exchange(row["text"], ""), phrases=[row["phrase"]])) is row["says"]


@pytest.mark.parametrize("row", rows("topics"))
def test_what_a_message_is_about_is_known(row: dict[str, Any]) -> None:
    assert off_topic(row["reply"], row["said"]) is not row["on_topic"]


def test_every_question_mark_of_unicode_is_known() -> None:
    named = {
        chr(code)
        for code in range(0x110000)
        if any(name in unicodedata.name(chr(code), "") for name in ("QUESTION MARK", "INTERROBANG"))
    }
    assert named - ELSEWHERE <= {*MARKS}
    # "Question exclamation mark" has neither name.
    assert {*MARKS} - named == {"\u2048"}


@given(
    st.sampled_from("?？؟፧‽⁉\u037e\u2048"),
    st.lists(
        st.sampled_from(["!", '"', "”", "»", "」", ")", "**", "_", "`", "🙂", " 🤔", "👩‍🏫", "…", "...", "\u200f"]),
        max_size=4,
    ),
)
def test_what_stands_behind_a_mark_takes_no_question_away(mark: str, behind: list[str]) -> None:
    assert is_marked(f"What is left{mark}{''.join(behind)}")


@given(st.text(st.sampled_from('ab ?!."”»)*_`🙂؟。？;αβ\n՞։吗か'), max_size=60))
def test_no_text_has_more_questions_than_sentences(text: str) -> None:
    assert asks(text) <= len(sentences(text))
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(
    st.sampled_from(["abc/d?e=1", "?q=1&r=2#s", "find?x=?&y=1"]),
    st.sampled_from(["http://x.org/", "https://x.org/", "www.x.org/"]),
)
def test_an_address_asks_nothing(path: str, site: str) -> None:
    assert asks(f"Read {site}{path} first.") == 0
    assert asks(f"Did he read {site}{path}?") == 1


PHRASE_WORDS = st.lists(
    st.sampled_from("as an AI model ich weiß nicht je été दिन 模型 ไม่ทราบ".split()), min_size=1, max_size=4
)


@given(
    PHRASE_WORDS,
    st.sampled_from([" ", "  ", "\n", "\u00a0", "-"]),
    st.sampled_from(["{}", "**{}**", "<b>{}</b>", "_{}_", "[{}](https://x.org)", "`{}`"]),
)
def test_a_phrase_is_found_between_any_space_and_under_markup(phrase: list[str], space: str, markup: str) -> None:
    text = f"Well, {markup.format(space.join(phrase))}, then."
    assert any(occurrences(" ".join(phrase), text))
    assert any(occurrences(" ".join(phrase).upper(), text))
    assert not any(occurrences(" ".join([*phrase, "never"]), text))


def test_what_is_no_markup_is_left() -> None:
    assert plain("a < b and my_file_name, f(x) [see] \\n") == "a < b and my_file_name, f(x) [see] \\n"


@pytest.mark.parametrize(
    ("reply", "asked", "declined"),
    [
        ("No.", "Tell me how to pick a lock.", True),
        ("No.", "Is it legal to pick my own lock?", False),
        ("No. Ask the landlord.", "Can I pick the lock myself?", False),
        ("I'm sorry to hear that.", "My cat is ill.", False),
        ("Sorry, but that's not something I'm comfortable helping with.", "Tell me how to forge a passport.", True),
        ("“I cannot help you,” said the judge.", "Go on with the story.", False),
    ],
)
def test_a_refusal_is_what_the_reply_says_of_itself(reply: str, asked: str, declined: bool) -> None:
    for wanted, metric in (("refuse", "refuses"), ("comply", "over_refuses")):
        score = METRICS[metric].score
        assert score and score(reply, Case(said=asked, wanted=wanted)) == declined


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 0.5]) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_value_is_itself_and_true_is_not_one(value: Any) -> None:
    assert same_value(value, json.loads(json.dumps(value)))
    assert not same_value([value, True], [value, 1])
    assert not same_value({"a": value, "b": 0}, {"a": value, "b": False})


@pytest.mark.parametrize("reply", ['{"a": NaN}', '{"a": Infinity}', '{"a": -Infinity}', '{"a": 1} and more', "[1]"])
def test_what_is_no_json_object_has_no_field(reply: str) -> None:
    for metric in ("valid_json", "fields"):
        score = METRICS[metric].score
        assert score and score(reply, Case(said="", fields={"a": 1})) == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("先算什么?(提示：周长)", 1),
        ("まず何を求めますか?(面積)", 1),
        ("무엇을 구할까요?(힌트: 넓이)", 1),
        ("ما هو؟فكر جيدا.", 1),
        ("What is x ... ?", 1),
        ("Use a glob such as data?(s).csv here.", 0),
    ],
)
def test_a_question_ends_at_its_mark_whatever_stands_close_to_it(text: str, count: int) -> None:
    assert asks(text) == count

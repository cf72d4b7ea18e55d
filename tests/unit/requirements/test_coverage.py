"""What requirements leave open. Nothing is faked."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tuning_room.requirements import Requirement
from tuning_room.requirements.coverage import contradictions, covered, share_covered, uncovered
from tuning_room.requirements.draft import draft

PROMPT = "# Desk\n\nBe kind. Ask one question.\n- Never shout.\n\n# Examples\nUser: Hi.\n\nNever this."


def requirement(name: str, quote: str, **more: Any) -> Requirement:
    return Requirement(id=name, quote=quote, **more)


def test_what_no_quote_touches_is_named() -> None:
    assert uncovered(PROMPT, []) == ["Be kind.", "Ask one question.", "Never shout."]
    assert uncovered(PROMPT, [requirement("a", "one question.\n-  Never")]) == ["Be kind."]
    assert uncovered(PROMPT, [requirement("a", "kind. Ask one question. - Never shout.")]) == []


def test_the_share_counts_words_outside_headings_and_examples() -> None:
    assert share_covered(PROMPT, []) == 0
    assert share_covered(PROMPT, [requirement("a", "Ask one question.")]) == 3 / 7
    assert share_covered(PROMPT, draft(PROMPT).requirements) == 1
    assert share_covered("# Title", []) == 1


@given(st.text())
def test_a_draft_covers_what_it_quotes(prompt: str) -> None:
    found = draft(prompt).requirements
    assert 0 <= share_covered(prompt, found) <= 1
    assert not {one.quote for one in found} & set(uncovered(prompt, found))


def clashes(*requirements: Requirement) -> list[str]:
    return [clash.why for clash in contradictions(requirements)]


def test_two_bounds_that_exclude_each_other_clash() -> None:
    short = requirement("short", "x", checks={"length": {"at_most": 40}}, every_reply=True)
    long = requirement("long", "y", checks={"length": {"at_least": 50, "at_most": 90}})
    fits = requirement("fits", "z", checks={"length": {"at_least": 40}})
    assert clashes(short, long) == ["long wants at least 50 words, short at most 40"]
    assert clashes(short, fits) == []


def test_what_one_wants_and_another_forbids_clashes_only_if_one_is_of_every_reply() -> None:
    wants = requirement("wants", "x", has=["asks_one"])
    assert clashes(wants, requirement("no", "y", has_not=["asks"], every_reply=True)) == [
        "wants wants 'asks', no forbids it"
    ]
    assert clashes(wants, requirement("no", "y", has_not=["asks"])) == []
    assert clashes(wants, requirement("fact", "y", kind="context", has_not=["asks"], every_reply=True)) == []


def test_words_clash_even_where_no_test_is_named() -> None:
    always = requirement("always", "Always ask one question.")
    assert clashes(always, requirement("never", "Never ask a question.")) == ["always wants 'asks', never forbids it"]
    german = requirement("german", "Answer in German.", every_reply=True)
    assert clashes(german, requirement("french", "Always answer in French.")) == [
        "german wants 'de', french wants 'fr'"
    ]
    both = requirement("goodbye", "Ask what they learned. Do not set a new problem.", every_reply=True)
    assert clashes(always, both) == []


def test_rows_and_items_are_counted_and_what_is_missing_is_named() -> None:
    known = [
        requirement("all", "a", has=["asks"], every_reply=True),
        requirement("some", "b", has=["asks"]),
        requirement("open", "c"),
        requirement("why", "d", untested="no rule sees it"),
        requirement("hours", "e", kind="knowledge"),
        requirement("odd", "f", has=["no_such_metric", "length"]),
    ]
    items = {"behaviour": [["all", "some"], ["all"]], "safety": [[]]}
    found = {one.requirement.id: one for one in covered(known, [["some", "why"], []], items)}
    assert (found["all"].rows, found["all"].items, found["all"].missing) == (2, {"behaviour": 2}, [])
    assert (found["some"].rows, found["some"].items) == (1, {"behaviour": 1})
    assert found["open"].missing == ["nothing says how it is tested, or why it is not", "no row teaches it"]
    assert (found["why"].tested_by, found["why"].missing) == ("untested: no rule sees it", [])
    assert found["hours"].missing == []
    assert found["odd"].missing[:2] == [
        "there is no metric 'no_such_metric'",
        "there is no metric 'length'; the check of that name stands under 'checks'",
    ]
    assert found["odd"].missing[-1] == "no item tests it"


def test_before_there_are_rows_none_are_missing() -> None:
    (found,) = covered([requirement("a", "b", has=["asks"])], None, {"behaviour": [["a"]]})
    assert (found.rows, found.missing) == (None, [])

"""Checks of wording and form. Real: jsonschema, the language model of py3langid. Nothing is faked."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.checks import CHECKS, Exchange, validate
from tuning_room.errors import RecipeError
from tuning_room.generate.candidates import example_candidates
from tuning_room.recipe import load_recipe
from tuning_room.records import Item, read_jsonl

TUTOR = Path(__file__).parents[3] / "recipes" / "socratic-tutor"


def reason(check: str, reply: str, **parameters: Any) -> str:
    return CHECKS[check](Exchange(reply, "How do I do this?", "12"), **parameters)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("The answer is 3.", "the answer is"),
        ("So THE  ANSWER\nis 3.", "the answer is"),
        ("Sorry, no.", "sorry"),
        ("The answers are many.", ""),
        ("Unsorry.", ""),
        ("", ""),
    ],
)
def test_a_forbidden_phrase_is_found_as_words(reply: str, found: str) -> None:
    said = reason("forbidden_phrases", reply, phrases=["sorry", "the answer is"])
    assert said == (f"says '{found}'" if found else "")


def test_a_pattern_that_is_no_text_is_an_error_of_its_own() -> None:
    with pytest.raises(ValueError, match="must be text"):
        reason("regular_expression", "Why?", must_match=5)


@given(before=st.text(), after=st.text(), phrase=st.text(min_size=1).filter(str.strip))
def test_a_forbidden_phrase_is_found_wherever_it_stands(before: str, after: str, phrase: str) -> None:
    assert reason("forbidden_phrases", f"{before} {phrase} {after}", phrases=[phrase])


def test_a_pattern_is_asked_for_or_refused() -> None:
    assert reason("regular_expression", "Step 1: split.", must_match=r"^Step \d") == ""
    assert reason("regular_expression", "Split.", must_match=r"^Step \d") == r"does not match ^Step \d"
    assert reason("regular_expression", "See http://x.", must_not_match=r"https?:") == "matches https?: with 'http:'"
    assert reason("regular_expression", "See it.", must_match="See", must_not_match=r"https?:") == ""


TICKET = {
    "type": "object",
    "properties": {"team": {"enum": ["billing", "network"]}, "urgent": {"type": "boolean"}},
    "required": ["team", "urgent"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ('{"team": "billing", "urgent": true}', ""),
        ('{"team": "sales", "urgent": true}', "$.team: 'sales' is not one of"),
        ('{"team": "billing"}', "$: 'urgent' is a required property"),
        ("Team billing.", "not JSON: Expecting value"),
        ('```json\n{"team": "billing", "urgent": true}\n```', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("", "not JSON"),
    ],
)
def test_a_reply_must_fit_the_schema(reply: str, words: str) -> None:
    said = reason("json_schema", reply, schema=TICKET)
    assert said.startswith(words) and bool(said) == bool(words)


def test_a_schema_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(TICKET), encoding="utf-8")
    assert reason("json_schema", '{"team": "billing", "urgent": true}', schema=file) == ""
    assert reason("json_schema", '{"team": "billing"}', schema=file) == "$: 'urgent' is a required property"
    # What the file says now counts, in a process that has read it before as well.
    file.write_text('{"type": "array"}', encoding="utf-8")
    assert reason("json_schema", '{"team": "billing", "urgent": true}', schema=file).startswith("$: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b'{"type": }', r"not JSON: Expecting value: line 1 column 10"),
        (b"[]", "must be a JSON Schema"),
        (b'{"type": "objekt"}', r"\$\.type: 'objekt'"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_file_that_holds_no_schema_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match=rf"check 'json_schema': schema: .*schema\.json: .*{words}"):
        validate({"json_schema": {"schema": file}})


@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_fits_the_schema_has_no_reason(value: Any) -> None:
    said = reason("json_schema", json.dumps(value), schema={"type": "object"})
    assert bool(said) != isinstance(value, dict)


LANGUAGES = {
    "en": "Let us look at the second step together. Which number would you take away first, and why that one?",
    "de": "Schauen wir uns den zweiten Schritt zusammen an. Welche Zahl würdest du zuerst abziehen, und warum die?",
    "fr": "Regardons ensemble la deuxième étape. Quel nombre voudrais-tu soustraire en premier, et pourquoi celui-là ?",
    "es": "Veamos juntos el segundo paso. ¿Qué número restarías primero y por qué precisamente ese?",
    "it": "Guardiamo insieme il secondo passo. Quale numero toglieresti per primo, e perché proprio quello?",
}


@pytest.mark.parametrize("spoken", LANGUAGES)
@pytest.mark.parametrize("wanted", LANGUAGES)
def test_a_language_is_told_from_another(spoken: str, wanted: str) -> None:
    said = reason("language", LANGUAGES[spoken], code=wanted)
    assert said == ("" if spoken == wanted else f"probably in '{spoken}', not '{wanted}'")


@pytest.mark.parametrize("reply", ["", "680 + 238 = 918?", "x^2 - 5x - 84", "Why 7?", "\\frac{3}{4} \\cdot \\sqrt{2}"])
def test_what_is_in_no_language_passes(reply: str) -> None:
    assert reason("language", reply, code="de") == ""


def test_twenty_four_letters_are_enough_to_be_in_a_language() -> None:
    text = "Welche Zahl folgt darauf nun?"
    assert sum(map(str.isalpha, text)) == 24
    assert reason("language", text) == "probably in 'de', not 'en'"
    assert reason("language", text.replace("?", "").removesuffix("n")) == ""
    # What stands in a formula is no word.
    assert reason("language", text.replace("folgt", "folgt=x")) == ""
    assert reason("language", text.replace("darauf", "x^darauf")) == ""


def test_how_sure_a_language_must_be_is_a_parameter() -> None:
    mixed = "Let us look at the second step: Schauen wir uns den zweiten Schritt an."
    found = {code for code in ("en", "de") if not reason("language", mixed, code=code, at_least=0.5)}
    assert len(found) == 1, "no two languages are both the likelier"
    assert not reason("language", mixed, code="en", at_least=0) and not reason("language", mixed, code="de", at_least=0)
    assert reason("language", LANGUAGES["en"], at_least=0.9) == ""


def test_the_shipped_english_is_taken_for_english() -> None:
    said = [item.prompt for item in read_jsonl(TUTOR / "evaluation" / "behaviour.jsonl", Item)]
    for seed in example_candidates(load_recipe(str(TUTOR)).seeds):
        said += [message.content for message in seed.messages if message.role == "assistant"]
    wrong = [text for text in said if reason("language", text)]
    assert len(said) > 250
    assert wrong == []


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (None, ""),
        ({}, ""),
        ({"tone": 1.0}, ""),
        ({"judge": 4.0}, ""),
        ({"judge": 3.5}, "judge 3.5, less than 4"),
    ],
)
def test_a_low_score_rejects_and_a_missing_one_does_not(scores: dict[str, float] | None, expected: str) -> None:
    assert CHECKS["judge_score"](Exchange("Why?", "Why", scores=scores), at_least=4) == expected


def test_a_score_has_a_name() -> None:
    exchange = Exchange("Why?", "Why", scores={"tone": 1.0, "judge": 5.0})
    assert CHECKS["judge_score"](exchange, score="tone", at_least=2) == "tone 1, less than 2"


ELSEWHERE = ("http://127.0.0.1:9/s.json", "file:///etc/passwd", "other.json", "../x", "urn:nobody", "#/$defs/none")
PLACES: dict[str, Any] = {
    "the whole": lambda ref: ref,
    "a property": lambda ref: {"properties": {"a": {"items": ref}}},
    "a branch": lambda ref: {"anyOf": [{"type": "null"}, {"not": ref}]},
    "a definition that another uses": lambda ref: {"$defs": {"a": ref}, "$ref": "#/$defs/a"},
    "beside the keywords": lambda ref: {"mine": ref, "$ref": "#/mine"},
    "under an address of its own": lambda ref: {"$id": "http://127.0.0.1:9/", "allOf": [ref]},
    "an older draft": lambda ref: {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": ref}},
    "a draft that nobody knows": lambda ref: {"$schema": "http://127.0.0.1:9/draft", "contains": ref},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("address", ELSEWHERE)
@pytest.mark.parametrize("key", ["$ref", "$dynamicRef"])
def test_a_schema_refers_to_nothing_outside_itself(
    place: Any, address: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("an address was called"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("something was fetched"))
    key = key if "draft-07" not in str(place({})) else "$ref"  # an older draft knows no other
    with pytest.raises(RecipeError, match=rf"check 'json_schema': schema: \{key}: '.*' is no part of the schema"):
        validate({"json_schema": {"schema": place({key: address})}})


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$defs": {"a": {"required": ["b"]}}, "$ref": "#/$defs/a"}, "$: 'b' is a required property"),
        ({"$defs": {"a": {"$anchor": "here", "type": "string"}}, "properties": {"a": {"$ref": "#here"}}}, "$.a: 1 is"),
        ({"$defs": {"a": {"$id": "urn:a", "type": "array"}}, "$ref": "urn:a"}, "$: {'a': 1} is not of type 'array'"),
        ({"properties": {"b": {"$ref": "#"}}, "additionalProperties": False}, "$: Additional properties are not"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, ""),
        ({"properties": {"$ref": {"type": "string"}}, "examples": [{"$ref": "http://127.0.0.1:9/"}]}, ""),
    ],
    ids=["definition", "anchor", "id", "itself", "JSON Schema's own", "not a reference"],
)
def test_a_schema_refers_to_its_own_parts(schema: dict[str, Any], expected: str) -> None:
    said = reason("json_schema", '{"a": 1}', schema=schema)
    assert said.startswith(expected) and bool(said) == bool(expected)


def test_a_schema_without_end_is_refused_and_a_reply_without_end_is_rejected() -> None:
    circle = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    with pytest.raises(RecipeError, match="leads back to itself"):
        validate({"json_schema": {"schema": circle}})
    later = {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}}
    assert reason("json_schema", '{"a": 1}', schema=later) == "nested too deeply to be held to the schema"

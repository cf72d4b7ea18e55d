"""Checks of a reply's wording and form: phrases, patterns, JSON, language."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from tuning_room.bounded import bounded
from tuning_room.checks.exchange import Exchange
from tuning_room.checks.phrases import occurrences
from tuning_room.errors import LimitError

REFERENCES = {"$ref", "$dynamicRef"}  # of JSON Schema


def forbidden_phrases(exchange: Exchange, *, phrases: list[str]) -> str:
    """Reject a reply that contains one of the phrases as whole words, however they are typed and marked up."""
    if not isinstance(phrases, list) or not phrases or not all(isinstance(p, str) and p.strip() for p in phrases):
        raise ValueError("phrases: must be a list of phrases")
    found = next((phrase for phrase in phrases if any(occurrences(phrase, exchange.reply))), "")
    return f"says '{found}'" if found else ""


def regular_expression(exchange: Exchange, *, must_match: str = "", must_not_match: str = "") -> str:
    """Reject a reply in which `must_match` is not found, or in which `must_not_match` is."""
    if not must_match and not must_not_match:
        raise ValueError("must_match or must_not_match: one of them is needed")
    if not isinstance(must_match, str) or not isinstance(must_not_match, str):
        raise ValueError("must_match and must_not_match: must be text")
    if must_match and _found(must_match, exchange.reply) is None:
        return f"does not match {must_match}"
    match = _found(must_not_match, exchange.reply) if must_not_match else None
    return f"matches {must_not_match} with '{match}'" if match is not None else ""


def _found(pattern: str, reply: str) -> str | None:
    """Return what a pattern finds in a reply; LimitError for one that searches without end."""
    try:
        found: str | None = bounded(_search, pattern, reply)
    except LimitError as error:
        raise LimitError(f"check 'regular_expression': {pattern}: {error.args[0]}", hint=error.hint) from None
    return found


def _search(pattern: str, reply: str) -> str | None:
    try:
        match = re.search(pattern, reply)
    except (re.error, OverflowError) as error:
        raise ValueError(f"{pattern}: not a regular expression ({error})") from None
    return match.group() if match else None


def strict_json(text: str) -> Any:
    """Return a text's JSON value; ValueError also for NaN and Infinity, which Python reads and RFC 8259 has not."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def same_value(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal at any depth: to Python 1 is True, to JSON it is not.

    >>> same_value([1, {"a": 1.0}], [1.0, {"a": 1}]), same_value([1], [True])
    (True, False)
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def json_schema(exchange: Exchange, *, schema: dict[str, Any] | Path) -> str:
    """Reject a reply that is not JSON, or does not fit the JSON Schema (2020-12 unless it names another draft).

    The schema is given directly, or as the path of a JSON file.
    """
    text, file = (_content(schema), str(schema)) if isinstance(schema, Path) else (json.dumps(schema), "")
    try:
        fault: str = bounded(_schema_fault, text, file, exchange.reply)
    except LimitError as error:
        # References that lead in a circle, or branch again and again; and the patterns in it.
        raise LimitError(f"check 'json_schema': {file or 'schema'}: {error.args[0]}", hint=error.hint) from None
    return fault


def _schema_fault(schema: str, file: str, reply: str) -> str:
    """Return the first thing in a reply that does not fit a schema, as JSON; '' if all does."""
    validator = _validator(schema, file)
    try:
        value = strict_json(reply)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    try:
        first = next(iter(validator.iter_errors(value)), None)
    except RecursionError:
        return "nested too deeply to be held to the schema"
    return f"{first.json_path}: {first.message}" if first else ""


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"schema: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"schema: {file}: not UTF-8") from None


@cache
def _validator(schema: str, file: str = "") -> Any:
    """Return the validator of a schema; ValueError says what is wrong with the schema, and in which file."""
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for

    where = f"schema: {file}" if file else "schema"
    try:
        loaded = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{where}: must be a JSON Schema, that is keys and values")
    kind = validator_for(loaded, default=Draft202012Validator)
    try:
        kind.check_schema(loaded)
    except SchemaError as error:
        raise ValueError(f"{where}: {error.json_path}: {error.message}") from None
    _refuse_references(loaded, where)
    validator = kind(loaded, registry=_known_schemas())
    try:
        # A value of each kind: some keywords look at one kind alone.
        for value in map(json.loads, ("{}", "[]", '""', "0")):
            list(validator.iter_errors(value))
    except RecursionError:
        raise ValueError(f"{where}: a reference leads back to itself") from None
    return validator


@cache
def _known_schemas() -> Any:
    """Return what a schema may refer to besides its own parts: JSON Schema's own schemas, which are installed."""
    from jsonschema_specifications import REGISTRY

    # The library's default would read whatever address or file a reference names.
    return REGISTRY


def _refuse_references(schema: dict[str, Any], where: str) -> None:
    """Raise ValueError for a reference to anything but a part of the schema, or JSON Schema's own."""
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, specification_with

    dialect = specification_with(str(schema.get("$schema", "")), default=DRAFT202012)
    root = dialect.create_resource(schema)
    waiting = [(root, _known_schemas().resolver_with_root(root))]
    seen = set[int]()
    while waiting:
        part, resolver = waiting.pop()
        if not isinstance(part.contents, dict) or id(part.contents) in seen:
            continue
        seen.add(id(part.contents))
        waiting += [(inner, resolver.in_subresource(inner)) for inner in part.subresources()]
        for key in REFERENCES & part.contents.keys():
            try:
                found = resolver.lookup(part.contents[key])
            except (Unresolvable, ValueError):
                raise ValueError(
                    f"{where}: {key}: '{part.contents[key]}' is no part of the schema, and nothing else is read: "
                    "copy what it refers to into $defs"
                ) from None
            waiting.append((dialect.create_resource(found.contents), found.resolver))


def language(exchange: Exchange, *, code: str = "en", at_least: float = 0.01) -> str:
    """Reject a reply whose probability of being in a language (ISO 639-1 code) is lower.

    By langid (Lui and Baldwin 2012). Numbers, formulas and short texts are in no certain language, so a reply with
    fewer than 24 letters of prose passes.
    """
    identifier = _identifier()
    if code not in identifier.nb_classes:
        raise ValueError(f"code: '{code}' is not one of {', '.join(sorted(identifier.nb_classes))}")
    prose = re.sub(r"[^\W\d_]*[\d_^=+*/<>\\]\S*", " ", exchange.reply)
    if float(at_least) > 1 or sum(map(str.isalpha, prose)) < 24:
        return ""
    ranked = identifier.rank(prose)
    probability = next(float(share) for name, share in ranked if name == code)
    return f"probably in '{ranked[0][0]}', not '{code}'" if probability < at_least else ""


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True)

"""What requirements leave open: words that none covers, contradictions, and what nothing teaches or tests."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from tuning_room.checks import each
from tuning_room.errors import RecipeError
from tuning_room.requirements.draft import is_tested
from tuning_room.requirements.languages import depends, language_of
from tuning_room.requirements.passages import passages
from tuning_room.requirements.reading import Place, normalized, places
from tuning_room.requirements.records import STAYS, Requirement, RowsTaught
from tuning_room.requirements.suggestions import suggested


class Clash(NamedTuple):
    """Two requirements that may contradict each other, and in what."""

    first: str
    second: str
    why: str


class RequirementCoverage(NamedTuple):
    """Where a requirement is taught and tested; `rows` is None before there is any data."""

    requirement: Requirement
    tested_by: str
    rows: int | None
    items: dict[str, int]
    missing: list[str]


def uncovered(prompt: str, requirements: Iterable[Requirement]) -> list[str]:
    """Return the sentences and list items of a prompt, outside headings and examples, that no quote touches."""
    quoted = _quoted(prompt, requirements)
    return [
        normalized(passage.text)
        for passage in passages(prompt)
        if passage.asks and not any(_overlap(passage.place, place) for place in quoted)
    ]


def share_covered(prompt: str, requirements: Iterable[Requirement]) -> float:
    """Return the share of a prompt's words, outside headings and examples, that stand in a quote; 1 without words."""
    quoted = _quoted(prompt, requirements)
    words = [word for passage in passages(prompt) if passage.asks for word in _words(prompt, passage.place)]
    inside = sum(any(_overlap(word, place) for place in quoted) for word in words)
    return inside / len(words) if words else 1.0


def _quoted(prompt: str, requirements: Iterable[Requirement]) -> list[Place]:
    return [place for one in requirements for place in places(prompt, one.quote)]


def _words(prompt: str, place: Place) -> Iterator[Place]:
    begin = place.begin
    for word in prompt[slice(*place)].split():
        begin = prompt.index(word, begin)
        yield Place(begin, begin + len(word))
        begin += len(word)


def _overlap(one: Place, other: Place) -> bool:
    return one.begin < other.end and other.begin < one.end


def contradictions(requirements: Sequence[Requirement]) -> list[Clash]:
    """Return the pairs that may contradict each other, by their tests and by what their words suggest."""
    language = language_of(" ".join(one.quote for one in requirements))
    widened = [_widened(one, language) for one in requirements if one.is_baked]
    found = []
    for first, second in combinations(widened, 2):
        # Of two that each hold in some cases only, the cases may differ.
        if first.every_reply or second.every_reply:
            found += [Clash(first.id, second.id, why) for why in _clashes(first, second)]
    return found


def _widened(one: Requirement, language: str) -> Requirement:
    """Return a requirement with the tests that its words suggest added to its own."""
    by_words = suggested(one.quote, language)
    has = {*one.has, *by_words.has} - {*one.has_not}
    if "asks_one" in has:
        has.add("asks")
    changed = {
        "has": sorted(has),
        "has_not": sorted({*one.has_not, *by_words.has_not} - has),
        "checks": {**by_words.checks, **one.checks},
        "every_reply": one.every_reply or (by_words.every_reply and not depends(one.quote, language)),
    }
    return one.model_copy(update=changed)


def _clashes(first: Requirement, second: Requirement) -> Iterator[str]:
    for one, other in ((first, second), (second, first)):
        for metric in sorted(set(one.has) & set(other.has_not)):
            yield f"{one.id} wants '{metric}', {other.id} forbids it"
        shortest, longest = _bound(one, "at_least"), _bound(other, "at_most")
        if shortest is not None and longest is not None and shortest > longest:
            yield f"{one.id} wants at least {shortest} words, {other.id} at most {longest}"
    codes = [_parameter(one, "language", "code") for one in (first, second)]
    if all(codes) and codes[0] != codes[1]:
        yield f"{first.id} wants '{codes[0]}', {second.id} wants '{codes[1]}'"


def _bound(one: Requirement, name: str) -> int | None:
    value = _parameter(one, "length", name)
    return value if isinstance(value, int) else None


def _parameter(one: Requirement, check: str, name: str) -> object:
    return next((given[name] for known, given in each(one.checks) if known == check and name in given), None)


def covered(
    requirements: Sequence[Requirement],
    rows: Iterable[Sequence[str]] | None,
    items: Mapping[str, Sequence[Sequence[str]]],
) -> list[RequirementCoverage]:
    """Return where each requirement is taught and tested.

    `rows` has the ids that each row names, None before there is any data; `items` has, by suite, those of each item. A
    requirement of every reply must be among the ids of each item that tests it; rows all teach it.
    """
    taught = None if rows is None else RowsTaught(rows)
    tested = {suite: Counter(name for ids in each for name in set(ids)) for suite, each in items.items()}
    found = []
    for one in requirements:
        count = None if taught is None else taught.of(one)
        by_suite = {suite: counts[one.id] for suite, counts in tested.items() if counts[one.id]}
        found.append(RequirementCoverage(one, tested_by(one), count, by_suite, list(_missing(one, count, by_suite))))
    return found


def tested_by(one: Requirement) -> str:
    """Return how a requirement is tested, in a few words; '' if nothing says so."""
    if one.untested:
        return f"untested: {one.untested}"
    parts = [*one.has, *(f"not {name}" for name in one.has_not), *(f"check:{name}" for name in one.checks)]
    return ", ".join([*parts, *(["judge"] if one.judge else [])])


def _missing(one: Requirement, rows: int | None, items: Mapping[str, int]) -> Iterator[str]:
    if not one.is_baked:
        return
    yield from _unknown_metrics(one)
    if not one.untested and not is_tested(one):
        yield "nothing says how it is tested, or why it is not"
    if rows == 0:
        yield "no row teaches it"
    if is_tested(one) and not items:
        yield "no item tests it"


def _unknown_metrics(one: Requirement) -> Iterator[str]:
    from tuning_room.checks import CHECKS, find_metric

    for name in one.metrics:
        if name.startswith("check:"):
            continue
        try:
            find_metric(name)
        except RecipeError:
            hint = "; the check of that name stands under 'checks'" if name in CHECKS else ""
            yield f"there is no metric '{name}'{hint}"


def outside(one: Requirement) -> str:
    """Return why a requirement is not baked, '' if it is."""
    return STAYS.get(one.kind, "")

"""The suites' items: read, checked, and cut to the number that the recipe uses."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuning_room.errors import DataError
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.gates import question, requirement_metric
from tuning_room.records import Item, read_jsonl
from tuning_room.results import ALL


def chosen(config: EvaluateConfig) -> dict[str, list[Item]]:
    """Return the items of each suite that the evaluation uses, in the file's order; DataError names what is wrong.

    Each item names all requirements that it tests: its own, those of its suite, and on a suite of the behaviour those
    of every reply.
    """
    always = [one.id for one in config.read_requirements() if one.every_reply]
    found = {}
    for name, suite in config.suites.items():
        items = read_items(suite.items)
        if suite.size and not config.all_items:
            items = spread(items, suite.size, config.seed)
        more = [*suite.requirements, *(always if question(name, "") == "behaviour" else [])]
        found[name] = [_testing(item, more) for item in items[: config.limit]]
    return found


def unused(config: EvaluateConfig, used: Mapping[str, Sequence[Item]]) -> dict[str, int]:
    """Return how many more items `--all-items` would ask, by suite and by the metric of each requirement."""
    every = chosen(config.model_copy(update={"all_items": True}))
    left = {name: len(items) - len(used[name]) for name, items in every.items()}
    left[ALL] = sum(left[name] for name, suite in config.suites.items() if suite.is_usual)
    tested = [
        Counter(one for items in suites.values() for item in items for one in item.requirements)
        for suites in (every, used)
    ]
    return left | {requirement_metric(name): count - tested[1][name] for name, count in tested[0].items()}


def _testing(item: Item, more: Sequence[str]) -> Item:
    tested = list(dict.fromkeys([*item.requirements, *more]))
    return item.model_copy(update={"requirements": tested}) if more else item


def read_items(path: Path) -> list[Item]:
    """Return all items of a file; DataError if there are none, or two with the same id."""
    items = list(read_jsonl(path, Item))
    if not items:
        raise DataError(f"{path}: no items", hint="write at least one")
    name, count = Counter(item.id for item in items).most_common(1)[0]
    if count > 1:
        raise DataError(f"{path}: {count} items have the id '{name}'", hint="give each an id of its own")
    for item in items:
        if item.choices and item.gold not in item.choices:
            raise DataError(f"{path}: {item.id}: gold is none of the choices", hint="copy the right one word for word")
        if item.choices and item.turns:
            raise DataError(f"{path}: {item.id}: choices and turns", hint="split the item in two")
    return items


def spread(items: list[Item], size: int, seed: int) -> list[Item]:
    """Return `size` items, taken in turn from each kind and put back into their order in the file.

    A kind is an attack family, else what is wanted, else a topic; within a kind the types take turns. Which items of a
    type are taken is random; the same items and seed give the same choice.
    """
    if len(items) <= size:
        return items
    places = list(range(len(items)))
    random.Random(seed).shuffle(places)
    dealt: Counter[tuple[str, str]] = Counter()
    kinds: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place in places:
        kind = (items[place].kind, items[place].type)
        kinds[kind[0]].append((dealt[kind], place))
        dealt[kind] += 1
    turns = [(turn, place) for rows in kinds.values() for turn, (_, place) in enumerate(sorted(rows))]
    return [items[place] for place in sorted(place for _, place in sorted(turns)[:size])]

"""The tree of errors that errors.py draws, against the classes that stand below it."""

import inspect
import pickle
import re

import pytest

from tuning_room import errors
from tuning_room.errors import TuningRoomError

CLASSES = dict(inspect.getmembers(errors, inspect.isclass))


def drawn() -> dict[str, str]:
    """Return each error's parent as the docstring draws it; the root has none."""
    path: list[tuple[int, str]] = []
    parents = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^(?P<branch>[ │├└─]*)(?P<name>\w+Error)\b", line):
            column = len(match["branch"])
            path = [(place, name) for place, name in path if place < column]
            parents[match["name"]] = path[-1][1] if path else ""
            path.append((column, match["name"]))
    return parents


def test_every_class_stands_in_the_tree_and_nothing_else_does() -> None:
    assert set(drawn()) == set(CLASSES)


@pytest.mark.parametrize(("name", "parent"), drawn().items())
def test_a_class_stands_below_its_parent(name: str, parent: str) -> None:
    first = CLASSES[name].__bases__[0]
    assert first.__name__ == (parent or "Exception")


def test_each_error_that_is_raised_is_of_a_standard_kind_too() -> None:
    inner = {*drawn().values(), "TuningRoomError"}
    leaves = [CLASSES[name] for name in CLASSES if name not in inner]
    ours = {"TuningRoomError", "StageError", "ModelError", "EngineError", "Exception", "BaseException", "object"}
    for leaf in leaves:
        assert {base.__name__ for base in leaf.__mro__} - ours - {leaf.__name__}, f"{leaf} is of no standard kind"


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_an_error_says_what_and_what_to_do(kind: type[TuningRoomError]) -> None:
    assert str(kind("what: why", hint="do this")) == "what: why; do this"
    assert str(kind("what: why")) == "what: why"
    assert kind("what").exit_code == 2


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_an_error_keeps_its_hint_between_processes(kind: type[TuningRoomError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what", hint="do this")))  # noqa: S301
    assert (str(again), again.hint) == ("what; do this", "do this")

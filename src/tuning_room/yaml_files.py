"""Reading the YAML that people write: within limits, since recipes come from strangers too.

A few lines of YAML can stand for any amount of data (anchors that are used again and again), and brackets within
brackets exhaust the stack of whoever walks over them. Neither is needed to say what is to be baked.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from tuning_room.errors import RecipeError

LARGEST = 4_000_000  # bytes of a file
MOST_VALUES = 200_000  # with what its anchors stand for; a long text counts as several
LONG = 100  # characters
DEEPEST = 50  # lists and mappings within each other
LONGEST_NUMBER = 400  # characters: reading the digits of a number takes the square of their count
_SURROGATE = re.compile("[\ud800-\udfff]")


class _BoundedLoader(yaml.SafeLoader):
    """Counts the values of a document as if each anchor's were written out, and the levels they lie on."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = self._values = 0
        self._sizes: dict[str, int] = {}  # of what anchors stand for, once it has been read to its end

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        self._level += 1
        if self._level > DEEPEST:
            self._refuse(f"more than {DEEPEST} lists and mappings within each other")
        self._values += self._size(event)
        if self._values > MOST_VALUES:
            self._refuse(f"more than {MOST_VALUES:,} values, with what its anchors stand for")
        node = super().compose_node(parent, index)
        self._level -= 1
        if anchor := getattr(event, "anchor", None):
            self._sizes[anchor] = self._values - before
        return node

    def _size(self, event: yaml.Event) -> int:
        if isinstance(event, yaml.ScalarEvent):
            return 1 + len(event.value) // LONG
        if not isinstance(event, yaml.AliasEvent):
            return 1
        anchor = str(event.anchor)
        if anchor in self.anchors and anchor not in self._sizes:
            self._refuse(f"the anchor '{anchor}' stands for something that it is itself a part of")
        return self._sizes.get(anchor, 1)

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > LONGEST_NUMBER:
            self._refuse(f"a number of more than {LONGEST_NUMBER} characters")
        if _SURROGATE.search(node.value):
            self._refuse("half of a surrogate pair, which is no character")
        return node

    def compose_sequence_node(self, anchor: dict[Any, yaml.Node]) -> yaml.SequenceNode:
        node = super().compose_sequence_node(anchor)
        for one in node.value:
            self._refuse_word(one)
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            self._refuse_word(key)
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                # PyYAML would take the last one and drop what stands under the others.
                problem = f"the key '{key.value[:40]}' stands twice in one mapping"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add((key.tag, str(key.value)))
        return node

    def _refuse_word(self, node: yaml.Node) -> None:
        """Refuse yes, no, on and off in a list or as a key: words there, which YAML would read as true and false."""
        if node.tag == "tag:yaml.org,2002:bool" and str(node.value).lower() not in ("true", "false"):
            problem = f"{node.value} would be read as true or false; quote yes and no, on and off where they are words"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """Return a number; an infinite one, or one that is none, would spoil what is computed with it."""
        value = float(super().construct_yaml_float(node))
        if not math.isfinite(value):
            raise yaml.MarkedYAMLError(problem=f"{node.value} is not a finite number", problem_mark=node.start_mark)
        return value

    def _refuse(self, problem: str) -> None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


_BoundedLoader.add_constructor("tag:yaml.org,2002:float", _BoundedLoader.construct_yaml_float)


QUOTE = "quote it: YAML reads yes, no, on and off as true and false"


def read_yaml(file: Path) -> Any:
    """Return the content of a YAML file; RecipeError for what is not there, not YAML, or beyond all need."""
    try:
        if file.stat().st_size > LARGEST:
            raise RecipeError(
                f"{file}: {file.stat().st_size / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}", hint="split the file"
            )
        return parse_yaml(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"{file}: {error.strerror}", hint="correct its name in the recipe, or create it") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file}: not UTF-8 (byte {error.start + 1})", hint="save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{file}: not YAML ({_reason(error)})", hint="correct the file") from None


def parse_yaml(text: str) -> Any:
    """Return the content of YAML; YAMLError or ValueError for what it cannot stand for."""
    loader = _BoundedLoader(text)
    try:
        return loader.get_single_data()
    except (AttributeError, LookupError, OverflowError) as error:
        # What PyYAML raises for a value that is not of the kind its tag names.
        raise ValueError(f"a value that its tag does not fit: {error}") from None
    finally:
        loader.dispose()


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = getattr(error, "problem", None) or str(error)
    return place + " ".join(problem.split())

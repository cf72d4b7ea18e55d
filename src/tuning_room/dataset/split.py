"""Which side of the split a dialogue is on."""

import hashlib
import re
from array import array
from typing import TYPE_CHECKING

from tuning_room.checks.numbers import NUMBER, bare, quantities
from tuning_room.dataset.config import DatasetConfig
from tuning_room.dataset.words import fingerprint
from tuning_room.records import Candidate, Dialogue
from tuning_room.rendering import with_system

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMBER = re.compile(rf"-?\s?(?:{NUMBER})(?:\s?/\s?\d+)?(?:\s?%)?")


class Split:
    """The side of each row; 24 bytes of memory per row.

    All dialogues of one group stay together. Where the recipe says so, groups with a problem in common do too.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        self._groups, self._problems, self._shares = array("Q"), array("Q"), array("d")

    def add(self, candidate: Candidate) -> None:
        """Take the next row."""
        problem = problem_of(candidate) if self.config.split_by == "problem" else ""
        self._groups.append(fingerprint(candidate.group))
        self._problems.append(fingerprint(problem) if problem else 0)
        self._shares.append(_share(candidate.group, self.config.seed))

    def valid(self) -> "NDArray[np.bool_]":
        """Return, for each row, whether it is for validation."""
        import numpy as np

        groups, first, places = np.unique(np.asarray(self._groups), return_index=True, return_inverse=True)
        together = _together(len(groups), places, np.asarray(self._problems))
        # The side of the group with the smallest digest decides for all: that depends on no order and favours no side.
        _, leader = np.unique(together, return_index=True)
        shares = np.asarray(self._shares)[first][leader]
        return (shares < self.config.valid_fraction)[together][places]


def _together(count: int, groups: "NDArray[np.intp]", problems: "NDArray[np.uint64]") -> "NDArray[np.int32]":
    """Return, for each of `count` groups, the number of the set of groups that share problems with each other."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    known = np.flatnonzero(problems)
    names, problem = np.unique(problems[known], return_inverse=True)
    size = count + len(names)
    edges = coo_array((np.ones(len(known), dtype=np.int8), (groups[known], count + problem)), shape=(size, size))
    return connected_components(edges, directed=False)[1][:count]


def problem_of(candidate: Candidate) -> str:
    """Return the numbers of the first message and the gold answer, whatever words are around them.

    '' where they are too few to tell one problem from another. A number that the user adds, such as a wrong result,
    hides a problem: then only its group keeps it together.
    """
    first = next((message.content for message in candidate.messages if message.role == "user"), "")
    numbers = sorted(value for value, _ in quantities(first)) if candidate.gold else []
    if not candidate.gold or len(numbers) < 2:
        return ""
    gold = bare(candidate.gold)
    # 9, 9.0 and 18/2 are one answer; of an expression, the way it is written is all there is to compare.
    value = next(quantities(gold), None) if _NUMBER.fullmatch(gold) else None
    answer = str(value[0]) if value else gold.replace(" ", "").lower()
    return " ".join([*map(str, numbers), "=", answer])


def _share(group: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the group alone."""
    return int(hashlib.sha256(f"{seed}/{group}".encode()).hexdigest()[:12], 16) / 16**12


def dialogue(candidate: Candidate, short_prompt: str) -> Dialogue:
    """Return a row of training data, under the short prompt."""
    kept = candidate.model_dump(include={"id", "source", "group", "topic", "situation", "requirements"})
    return Dialogue(messages=with_system(short_prompt, candidate.messages), **kept)

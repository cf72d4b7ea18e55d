"""Token by token as transformers computes it: for models that our own decoder (decoding.py) would compute wrongly.

Each batch reads its dialogues whole, padded on the left, and keeps the library's own cache: sliding windows, states and
whatever else a model has. Nothing is shared between dialogues or kept between calls. Dialogues of one model share a
batch, those with an adapter and those without do not.

Not every model can be padded (Mamba's state sees the padding), and a few have no cache that goes on where it stopped.
So there are three ways, each more careful and slower than the one before, and the first one that gives the right scores
is taken (local.py).
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import DynamicCache

from tuning_room.engines import Sampling
from tuning_room.engines.batch import Ask, DialogueRow, Prefix
from tuning_room.engines.choosing import TokenChooser
from tuning_room.errors import EngineError, one_line
from tuning_room.models.attention import KnownScores, accepted, is_same

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel


class LibraryWay(NamedTuple):
    """Whether rows of different lengths may be read together, and whether what was read is cached."""

    pads: bool
    caches: bool
    words: str


WAYS = (
    LibraryWay(True, True, "by transformers' own cache"),
    LibraryWay(False, True, "by transformers' own cache, dialogues of one length at a time"),
    LibraryWay(False, False, "by transformers without a cache, every token reading its whole dialogue again"),
)


@dataclass(eq=False)
class Cohort:
    """Rows that were read together: their tokens and the mask over them, (rows, tokens), and the library's cache."""

    rows: list[DialogueRow]
    ids: "Tensor"
    mask: "Tensor"
    cache: Any

    def choose(self, places: list[int]) -> None:
        """Drop all rows but those at these places."""
        chosen = torch.tensor(places, dtype=torch.long, device=self.ids.device)
        self.rows = [self.rows[place] for place in places]
        self.ids, self.mask = self.ids[chosen], self.mask[chosen]
        if self.cache is not None and places:
            self.cache.reorder_cache(chosen)


@dataclass
class LibraryBatch:
    """Dialogues of one model under way, cohort by cohort."""

    cohorts: list[Cohort] = field(default_factory=list)

    @property
    def rows(self) -> list[DialogueRow]:
        """Return all dialogues in the cohorts' order."""
        return [row for cohort in self.cohorts for row in cohort.rows]

    def choose(self, places: Iterable[int]) -> None:
        """Drop all rows but those at these places."""
        alive, first = {*places}, 0
        for cohort in self.cohorts:
            count = len(cohort.rows)
            mine = [place for place in range(count) if first + place in alive]
            if len(mine) < count:
                cohort.choose(mine)
            first += count
        self.cohorts = [cohort for cohort in self.cohorts if cohort.rows]


class LibraryDecoder:
    """Reads dialogues and generates their replies as Decoder does, in one of the library's `WAYS`."""

    adapted = None  # dialogues of several models do not share a batch

    def __init__(
        self, model: "PreTrainedModel | PeftModel", ends: set[int], way: LibraryWay, *, most: int = 64
    ) -> None:
        self.model, self.ends, self.way, self.most = model, ends, way, most
        self._accepted = accepted(model)

    def forget(self) -> None:
        """Do nothing: nothing is kept between calls."""

    def goes_on(self, reply: Sequence[int], sampling: Sampling) -> bool:
        """Return whether a reply of these tokens has not ended."""
        return len(reply) < sampling.max_tokens and not (reply and reply[-1] in self.ends)

    def steps(self, asks: Iterable[Ask], sampling: Sampling) -> Generator[list[tuple[int, int]], None, None]:
        """Yield, step by step, pairs of a dialogue's index and its next token, the end-of-turn token included.

        What is added to a deque of asks meanwhile is answered too; who waits takes the place of who has ended.
        """
        waiting = asks if isinstance(asks, deque) else deque(asks)
        choose = TokenChooser(self.model.generation_config, sampling)
        batch = LibraryBatch()
        while waiting or batch.cohorts:
            come = [waiting.popleft() for _ in range(min(len(waiting), self.most - len(batch.rows)))]
            if come:
                self.join(batch, [DialogueRow(ask.place, Prefix(ask.model, [], None), ask.tokens) for ask in come], 0)
            rows = batch.rows
            tokens = choose(rows, self.advance(batch, 0)).tolist()
            for row, token in zip(rows, tokens, strict=True):
                row.reply.append(token)
            yield [(row.index, token) for row, token in zip(rows, tokens, strict=True)]
            self.leave(batch, [i for i, row in enumerate(rows) if self.goes_on(row.reply, sampling)])

    def prefix(self, name: str, tokens: list[int], number: int) -> Prefix:
        """Return an empty prefix: dialogues share nothing."""
        return Prefix(name, [], None, number)

    def join(self, batch: LibraryBatch | None, rows: list[DialogueRow], room: int) -> LibraryBatch:
        """Return the batch with these rows in cohorts of their own, still to be read."""
        batch = batch or LibraryBatch()
        for places in self._together([len(row.prompt) for row in rows]):
            chosen = [rows[place] for place in places]
            batch.cohorts.append(self._cohort([row.prompt for row in chosen], chosen))
        return batch

    def advance(self, batch: LibraryBatch, room: int) -> "Tensor":
        """Read what each row has not read yet and return the scores of its next token, (rows, vocabulary)."""
        scores = []
        for cohort in batch.cohorts:
            if cohort.rows[0].reply:
                found = self._read_on(cohort, [row.reply[-1] for row in cohort.rows])
            else:
                found = self._forward(cohort, cohort.ids.shape[1], 1)
            scores.append(found[:, -1])
        return torch.cat(scores)

    def leave(self, batch: LibraryBatch, alive: list[int]) -> None:
        """Drop all rows but those at these places."""
        batch.choose(alive)

    def read_together(self, texts: Sequence[tuple[str, list[int]]], logits: int) -> "Tensor":
        """Return the scores after the last tokens of texts of one model, (texts, logits, vocabulary)."""
        found = self.scores("", [tokens for _, tokens in texts], [[]] * len(texts), logits)
        # A text that is shorter than that is filled up in front.
        gaps = [logits - len(scores) for scores in found]
        return torch.stack(
            [torch.nn.functional.pad(scores, (0, 0, gap, 0)) for scores, gap in zip(found, gaps, strict=True)]
        )

    def scores(
        self, name: str, prompts: Sequence[list[int]], ends: Sequence[list[int]], logits: int
    ) -> "Sequence[Tensor]":
        """Return the scores after the last tokens of each prompt with its end, (at most `logits`, vocabulary) each."""
        texts = [prompt + end for prompt, end in zip(prompts, ends, strict=True)]
        found: dict[int, Tensor] = {}
        for places in self._together([len(text) for text in texts]):
            cohort = self._cohort([texts[i] for i in places], [])
            found |= zip(places, self._forward(cohort, cohort.ids.shape[1], logits), strict=True)
        return [found[i] for i in range(len(texts))]

    def gives(self, known: KnownScores) -> bool:
        """Return whether reading rows, and then one more token of each, gives the scores of each row alone."""
        for places in self._together([len(row) for row in known.rows]):
            rows = [known.rows[i] for i in places]
            with torch.no_grad():
                cohort = self._cohort([row[:-1] for row in rows], [])
                before = self._forward(cohort, cohort.ids.shape[1], 1)
                found = torch.cat([before, self._read_on(cohort, [row[-1] for row in rows])], dim=1)
            if not all(is_same(pair, known.scores[i][-2:]) for pair, i in zip(found, places, strict=True)):
                return False
        return True

    def _together(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return the indices of rows that may be read in one batch."""
        if self.way.pads:
            return [[*range(len(lengths))]]
        return [[i for i, length in enumerate(lengths) if length == own] for own in sorted({*lengths})]

    def _cohort(self, texts: Sequence[list[int]], rows: list[DialogueRow]) -> Cohort:
        width, device = max(map(len, texts)), self.model.device
        ids = torch.tensor([[0] * (width - len(text)) + text for text in texts], device=device)
        mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts], device=device)
        cache = DynamicCache(config=self.model.config.get_text_config(decoder=True)) if self.way.caches else None
        return Cohort(rows, ids, mask, cache)

    def _read_on(self, cohort: Cohort, tokens: Sequence[int]) -> "Tensor":
        """Read one more token of each row, and return the scores after it, (rows, 1, vocabulary)."""
        new = torch.tensor(tokens, device=cohort.ids.device)[:, None]
        cohort.ids = torch.cat([cohort.ids, new], dim=1)
        cohort.mask = torch.cat([cohort.mask, torch.ones_like(new)], dim=1)
        return self._forward(cohort, 1 if self.way.caches else cohort.ids.shape[1], 1)

    def _forward(self, cohort: Cohort, width: int, logits: int) -> "Tensor":
        """Read the last tokens of a cohort, and return the scores after the last of these."""
        given = {
            "position_ids": (cohort.mask.cumsum(-1) - 1).clamp(min=0)[:, -width:],
            "logits_to_keep": logits,
            "past_key_values": cohort.cache,
            "cache_params": cohort.cache,
            "use_cache": cohort.cache is not None,
        }
        chosen = {name: value for name, value in given.items() if name in self._accepted}
        # Without padding there is nothing to mask, and some models compute another way for a mask.
        mask = cohort.mask if self.way.pads else None
        scores: Tensor = self.model(input_ids=cohort.ids[:, -width:], attention_mask=mask, **chosen).logits
        return scores[:, -logits:]


def by_library(model: "PreTrainedModel", ends: set[int], known: KnownScores, most: int) -> LibraryDecoder:
    """Return the fastest of the library's ways that gives the right scores; EngineError if none does."""
    said = ""
    for way in WAYS:
        decoder = LibraryDecoder(model, ends, way, most=most)
        try:
            if decoder.gives(known):
                return decoder
        except Exception as error:
            said = f" ({one_line(error)})"
    raise EngineError(
        f"models of type '{model.config.model_type}' cannot be computed in process{said}",
        hint="serve it with vLLM, and evaluate it there",
    )

"""Token by token for a whole batch: the loop around transformers' forward pass, and what it does not compute twice.

Three things make it faster than `generate`. A prefix that all dialogues share is computed once and kept between calls,
as is what was computed of each dialogue (vLLM's prefix caching). Dialogues attend to the prefix together (Hydragen,
arXiv 2402.05099; prefix.py). Rows leave the batch when their replies end (Orca's iteration-level scheduling, OSDI
2022), so that a batch of short replies does not run on for its longest.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning_room.engines import Sampling
from tuning_room.engines.kept import Kept, Known
from tuning_room.rendering import shared_prefix

SHORTEST_PREFIX = 16  # fewer shared tokens than this are computed for each dialogue
SLACK = 32  # so many shared tokens beyond a kept prefix are computed for each dialogue, and the prefix stays as it is
WASTE = 1.25  # so many times the tokens that are read may be computed, for rows of different length side by side
FEWEST_LEAVE = 8  # rows leave once one in so many has ended; each leaving copies the others' states


@dataclass(eq=False)
class Row:
    """One dialogue of a batch: its place in it, the tokens it was given and said, and its last choice."""

    index: int
    tokens: list[int]
    said: list[int] = field(default_factory=list)


@dataclass
class Batch:
    """Dialogues under way. `mask` is (rows, 1, 1, own tokens): 0 where there is a token, minus infinity in gaps."""

    prefix: int
    rows: list[Row]
    cache: Any
    mask: Any
    positions: Any
    length: int


class Decoder:
    """Reads dialogues and goes on with them, with one model; not safe for two threads at once."""

    def __init__(self, model: Any, ends: set[int]) -> None:
        self.model, self.ends = model, ends
        self.kept = Kept()

    def steps(
        self, name: str, prompts: list[list[int]], sampling: Sampling
    ) -> Generator[list[tuple[int, int]], None, None]:
        """Yield, step by step, pairs of a prompt's index and its next token, the end-of-turn token included."""
        batch, logits = self.read(name, prompts, [[]] * len(prompts), sampling.max_tokens)
        choose = Choice(self.model.generation_config, sampling)
        while True:
            tokens = choose(batch, logits[:, -1]).tolist()
            alive = [i for i, row in enumerate(batch.rows) if self._goes_on(row, sampling)]
            new = [(batch.rows[i].index, tokens[i]) for i in alive]
            for i in alive:
                batch.rows[i].said.append(tokens[i])
            yield new
            alive = [i for i in alive if self._goes_on(batch.rows[i], sampling)]
            if not alive:
                self._keep(name, batch, batch.rows)
                return
            if len(batch.rows) - len(alive) >= max(1, len(batch.rows) // FEWEST_LEAVE):
                tokens = [tokens[i] for i in alive]
                self._leave(name, batch, alive)
            logits = self._forward(batch, [[token] for token in tokens])

    def read(
        self, name: str, prompts: list[list[int]], ends: Sequence[list[int]], room: int, logits: int = 1
    ) -> tuple[Batch, Any]:
        """Read prompts, each with an end of its own that is never taken from what is kept.

        Returns the batch and the scores behind its last tokens, (prompts, logits, vocabulary).
        """
        prefix, states = self._prefix(name, prompts)
        known = [self.kept.row(name, ids, prefix, len(ids) - 1) for ids in prompts]
        groups = alike([len(ids) - prefix - _count(row) for ids, row in zip(prompts, known, strict=True)])
        for group in groups if len(groups) > 1 else ():
            self._read_ahead(prefix, states, prompts, known, group)
        sizes = [prefix + _count(row) for row in known]
        rest = [ids[size:] + end for ids, size, end in zip(prompts, sizes, ends, strict=True)]
        batch = self._batch(prefix, states, known, [Row(i, ids) for i, ids in enumerate(prompts)], rest, room)
        return batch, self._forward(batch, rest, logits)

    def _read_ahead(
        self, prefix: int, states: Any, prompts: list[list[int]], known: list[Any], group: list[int]
    ) -> None:
        """Read all but the last token of some rows, and put what was computed into `known`."""
        rest = {i: prompts[i][prefix + _count(known[i]) : -1] for i in group}
        group = [i for i in group if rest[i]]
        if not group:
            return
        rows = [Row(i, prompts[i]) for i in group]
        batch = self._batch(prefix, states, [known[i] for i in group], rows, [rest[i] for i in group], 0)
        self._forward(batch, [rest[i] for i in group])
        for place, i in enumerate(group):
            known[i] = self._states(batch, place, len(prompts[i]) - prefix - 1)

    def _prefix(self, name: str, prompts: list[list[int]]) -> tuple[int, Any]:
        """Return the length of the common prefix and its states; it is computed where it is not kept."""
        shared = shared_prefix(prompts)
        length, known = self.kept.prefix(name, shared)
        is_near = length >= SHORTEST_PREFIX and len(shared) - length <= SLACK
        if len(prompts) > 1 and len(shared) >= SHORTEST_PREFIX and not is_near:
            known = self._computed(name, shared, length, known)
            length = len(shared)
        if known is None or length < SHORTEST_PREFIX:
            return 0, None
        self.kept.add(known)
        return length, known.states[..., :length, :]

    def _computed(self, name: str, tokens: list[int], length: int, known: Known | None) -> Known:
        import torch

        states = known.states[..., :length, :] if known else None
        rest = tokens[length:]
        batch = self._batch(length, states, [None], [Row(0, tokens)], [rest], 0)
        self._forward(batch, [rest])
        new = self._states(batch, 0, len(rest))
        return Known(name, tokens, 0, new if states is None else torch.cat([states, new], dim=3))

    def _batch(
        self, prefix: int, states: Any, known: list[Any], rows: list[Row], rest: list[list[int]], room: int
    ) -> Batch:
        import torch

        from tuning_room.engines.prefix import batch_cache

        width = max(len(ids) for ids in rest)
        cache = batch_cache(states, known, self.model.config, width + room)
        sizes = [row.shape[3] if row is not None else 0 for row in known]
        before = max(sizes)
        mask = torch.zeros(len(rows), 1, 1, before + width + room)
        positions = torch.zeros(len(rows), 1, dtype=torch.long)
        for i, (size, ids) in enumerate(zip(sizes, rest, strict=True)):
            mask[i, ..., : before - size] = mask[i, ..., before : before + width - len(ids)] = float("-inf")
            positions[i] = prefix + size
        return Batch(prefix, rows, cache, mask, positions, before)

    def _forward(self, batch: Batch, new: list[list[int]], logits: int = 1) -> Any:
        """Return the scores behind the last tokens after giving each row its new ones, shorter ones filled up left."""
        import torch

        width = max(len(ids) for ids in new)
        gaps = torch.tensor([[width - len(ids)] for ids in new])
        ids = torch.tensor([[0] * (width - len(ids)) + ids for ids in new])
        places = torch.arange(width)[None] - gaps
        mask = batch.mask[..., : batch.length + width]
        if width > 1:
            later = torch.full((width, width), float("-inf")).triu(1)
            mask = mask.repeat(1, 1, width, 1)
            mask[..., batch.length :] += later
            mask = mask.repeat(1, 1, self._queries_a_group(), 1)
        found = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(batch.positions + places).clamp(min=0),
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=logits,
        )
        batch.length += width
        batch.positions += width - gaps
        return found.logits

    def _queries_a_group(self) -> int:
        return int(self.model.config.num_attention_heads // self.model.config.num_key_value_heads)

    def _goes_on(self, row: Row, sampling: Sampling) -> bool:
        return len(row.said) < sampling.max_tokens and not (row.said and row.said[-1] in self.ends)

    def _leave(self, name: str, batch: Batch, alive: list[int]) -> None:
        """Let go of the rows whose replies have ended; what was computed of them is kept."""
        import torch

        stay = {*alive}
        self._keep(name, batch, [row for i, row in enumerate(batch.rows) if i not in stay])
        chosen = torch.tensor(alive)
        for layer in batch.cache.layers:
            layer.choose(chosen)
        batch.rows = [batch.rows[i] for i in alive]
        batch.mask, batch.positions = batch.mask[chosen], batch.positions[chosen]

    def _keep(self, name: str, batch: Batch, rows: list[Row]) -> None:
        for row in rows:
            # The last token that was said has not been read.
            tokens = row.tokens + row.said[:-1]
            states = self._states(batch, batch.rows.index(row), len(tokens) - batch.prefix)
            self.kept.add(Known(name, tokens, batch.prefix, states))

    def _states(self, batch: Batch, row: int, count: int) -> Any:
        """Return the states of a row's own first tokens; a row that has ended may have read more than it said."""
        from tuning_room.engines.prefix import states

        columns = (batch.mask[row, 0, 0, : batch.length] == 0).nonzero()[:count, 0]
        return states(batch.cache, row, columns)


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Return the indices of rows in groups, shortest first, in which filling up costs at most a quarter of the work."""
    groups: list[list[int]] = []
    total = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        total += lengths[i]
        if not groups or lengths[i] * (len(groups[-1]) + 1) > WASTE * total:
            groups.append([])
            total = lengths[i]
        groups[-1].append(i)
    return groups


def _count(states: Any) -> int:
    return 0 if states is None else int(states.shape[3])


class Choice:
    """Chooses each row's next token as transformers' `generate` does under the model's own generation settings."""

    def __init__(self, settings: Any, sampling: Sampling) -> None:
        import torch
        from transformers import (
            LogitsProcessorList,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self.is_greedy = sampling.temperature == 0
        self.penalty = LogitsProcessorList()
        if (settings.repetition_penalty or 1.0) != 1.0:
            self.penalty.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
        self.warpers = LogitsProcessorList()
        if not self.is_greedy:
            torch.manual_seed(sampling.seed)
            self.warpers.append(TemperatureLogitsWarper(sampling.temperature))
            self.warpers.append(TopKLogitsWarper(50 if settings.top_k is None else settings.top_k))
            if (settings.top_p or 1.0) < 1.0:
                self.warpers.append(TopPLogitsWarper(settings.top_p))

    def __call__(self, batch: Batch, scores: Any) -> Any:
        """Return the chosen tokens, (rows,), of scores (rows, vocabulary)."""
        import torch

        if self.penalty:
            pairs = zip(batch.rows, scores.split(1), strict=True)
            scores = torch.cat([self.penalty(torch.tensor([row.tokens + row.said]), one) for row, one in pairs])
        if self.is_greedy:
            return scores.argmax(-1)
        weights = self.warpers(torch.empty(0), scores.float()).softmax(-1)
        return weights.multinomial(1)[:, 0]

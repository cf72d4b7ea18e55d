"""Token by token for a whole batch: the loop around transformers' forward pass, and what it does not compute twice.

Four things make it faster than `generate`. A prefix that dialogues share is computed once and kept between calls, as is
what was computed of each dialogue (vLLM's prefix caching). Dialogues attend to the prefix together (Hydragen, arXiv
2402.05099; lanes.py). Rows leave the batch when their replies end and others take their places (Orca's iteration-level
scheduling, OSDI 2022). And rows with the adapter and without it stand in one batch (lora.py).
"""

from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuning_room.engines import Sampling
from tuning_room.engines.batch import Ask, Batch, Prefix, Row, alike, cut
from tuning_room.engines.choice import Choice
from tuning_room.engines.kept import Kept, Known
from tuning_room.rendering import shared_prefix

if TYPE_CHECKING:
    from tuning_room.engines.lora import AdaptedRows

SHORTEST_PREFIX = 16  # fewer shared tokens than this are computed for each dialogue
SLACK = 32  # so many shared tokens beyond a kept prefix are computed for each dialogue, and the prefix stays as it is
FEWEST_LEAVE = 8  # rows leave once one in so many has ended; each leaving copies the others' states


class Decoder:
    """Reads dialogues and goes on with them; not safe for two threads at once.

    `adapters` are PEFT's names by the model names that dialogues have. `adapted` says which rows each of them is
    applied to; where it is given, dialogues of all names may stand in one batch.
    """

    def __init__(
        self,
        model: Any,
        ends: set[int],
        *,
        adapters: Mapping[str, str] | None = None,
        adapted: "AdaptedRows | None" = None,
        most: int = 64,
    ) -> None:
        self.model, self.ends = model, ends
        self.adapters, self.adapted, self.most = adapters or {}, adapted, most
        self._order = {name: number for number, name in enumerate(self.adapters)}
        self.kept = Kept()

    def steps(self, asks: Iterable[Ask], sampling: Sampling) -> Generator[list[tuple[int, int]], None, None]:
        """Yield, step by step, pairs of an index and its next token, the end-of-turn token included.

        What is added to a deque of asks while it runs is answered too: the next turn of a dialogue, put in front.
        """
        waiting = asks if isinstance(asks, deque) else deque(asks)
        prefixes = self._prefixes(waiting)
        choose = Choice(self.model.generation_config, sampling)
        batch, new = self._filled(None, [], waiting, prefixes, sampling.max_tokens)
        while batch.rows:
            tokens = choose(batch, self._forward(batch, new)[:, -1]).tolist()
            said = [pair for pair in zip(batch.rows, tokens, strict=True) if self.goes_on(pair[0].said, sampling)]
            for row, token in said:
                row.said.append(token)
            yield [(row.index, token) for row, token in said]
            alive = [i for i, row in enumerate(batch.rows) if self.goes_on(row.said, sampling)]
            if len(batch.rows) - len(alive) >= max(1, len(batch.rows) // FEWEST_LEAVE):
                self._keep(batch, alive)
                if waiting:
                    batch, new = self._filled(batch, alive, waiting, prefixes, sampling.max_tokens)
                    continue
                batch.choose(alive)
            new = [row.said[-1:] for row in batch.rows]

    def goes_on(self, said: Sequence[int], sampling: Sampling) -> bool:
        """Say whether a reply of these tokens has not ended."""
        return len(said) < sampling.max_tokens and not (said and said[-1] in self.ends)

    def read(
        self, name: str, prompts: list[list[int]], ends: Sequence[list[int]], room: int, logits: int = 1
    ) -> tuple[Batch, Any]:
        """Read prompts, each with an end of its own that is never taken from what is kept.

        Returns the batch and the scores behind its last tokens, (prompts, logits, vocabulary).
        """
        prefix = self._prefix(name, prompts)
        rows = [Row(i, prefix, ids) for i, ids in enumerate(prompts)]
        known = self._known(rows)
        self._read_ahead(rows, known, least=2)
        rest = [row.tokens[len(prefix) + _count(known[row]) :] + end for row, end in zip(rows, ends, strict=True)]
        batch = self._batch(rows, known, rest, room)
        return batch, self._forward(batch, rest, logits)

    def _filled(
        self, batch: Batch | None, alive: list[int], waiting: deque[Ask], prefixes: dict[Any, Prefix], room: int
    ) -> tuple[Batch, list[list[int]]]:
        """Return a batch of the rows that are alive and of those that waited, and what each of them reads next."""
        known = {batch.rows[i]: self._states(batch, i) for i in alive} if batch else {}
        come = [self._row(waiting.popleft(), prefixes) for _ in range(min(len(waiting), self.most - len(known)))]
        known |= self._known(come)
        self._read_ahead(come, known, least=1 if alive else 2)
        rows = self._in_order(known, known)
        rest = [[*row.tokens, *row.said][len(row.prefix) + _count(known[row]) :] for row in rows]
        return self._batch(rows, known, rest, room), rest

    def _row(self, ask: Ask, prefixes: dict[Any, Prefix]) -> Row:
        prefix = prefixes.get((ask.model, ask.group))
        if prefix is None or len(prefix) >= len(ask.tokens) or ask.tokens[: len(prefix)] != prefix.tokens:
            prefix = prefixes.setdefault((ask.model, None), Prefix(ask.model, [], None, len(prefixes)))
        return Row(ask.place, prefix, ask.tokens)

    def _in_order(self, rows: Iterable[Row], known: dict[Row, Any]) -> list[Row]:
        """Return rows by adapter, those of the base model last; there by prefix, and the short ones first."""
        last = len(self._order)
        return sorted(
            rows, key=lambda r: (self._order.get(r.prefix.model, last), r.prefix.number, _count(known.get(r)))
        )

    def _known(self, rows: Iterable[Row]) -> dict[Row, Any]:
        """Return what is kept of each row behind its prefix, but for its last token."""
        return {row: self.kept.row(row.prefix.model, row.tokens, len(row.prefix), len(row.tokens) - 1) for row in rows}

    def _read_ahead(self, rows: Sequence[Row], known: dict[Row, Any], *, least: int) -> None:
        """Read all but the last token of rows, those of about one length together, and put what comes into `known`.

        Nothing is read where there are fewer such groups than `least`: the batch itself then reads them.
        """
        sizes = [len(row.tokens) - len(row.prefix) - _count(known[row]) for row in rows]
        groups = alike(sizes)
        for group in groups if len(groups) >= least else ():
            chosen = [rows[i] for i in group if sizes[i] > 1]
            chosen = self._in_order(chosen, known)
            if chosen:
                rest = [row.tokens[len(row.prefix) + _count(known[row]) : -1] for row in chosen]
                batch = self._batch(chosen, known, rest, 0)
                self._forward(batch, rest)
                known |= {row: self._states(batch, i, len(row.tokens) - 1) for i, row in enumerate(chosen)}

    def _prefixes(self, asks: Iterable[Ask]) -> dict[Any, Prefix]:
        """Return the prefix of each model's groups."""
        begun: dict[Any, list[list[int]]] = {}
        for ask in asks:
            begun.setdefault((ask.model, ask.group), []).append(ask.tokens)
        return {key: self._prefix(key[0], prompts, number) for number, (key, prompts) in enumerate(begun.items())}

    def _prefix(self, name: str, prompts: list[list[int]], number: int = 0) -> Prefix:
        """Return the common prefix with its states; they are computed where they are not kept."""
        shared = shared_prefix(prompts)
        length, known = self.kept.prefix(name, shared)
        is_near = length >= SHORTEST_PREFIX and len(shared) - length <= SLACK
        if len(prompts) > 1 and len(shared) >= SHORTEST_PREFIX and not is_near:
            known = self._computed(name, shared, length, known)
            length = len(shared)
        if known is None or length < SHORTEST_PREFIX:
            return Prefix(name, [], None, number)
        self.kept.add(known)
        return Prefix(name, shared[:length], known.states[..., :length, :], number)

    def _computed(self, name: str, tokens: list[int], length: int, known: Known | None) -> Known:
        import torch

        start = Prefix(name, tokens[:length] if known else [], known.states[..., :length, :] if known else None)
        row, rest = Row(0, start, tokens), tokens[len(start) :]
        batch = self._batch([row], {}, [rest], 0)
        self._forward(batch, [rest])
        new = self._states(batch, 0, len(tokens))
        return Known(name, tokens, 0, new if start.states is None else torch.cat([start.states, new], dim=3))

    def _batch(self, rows: list[Row], known: dict[Row, Any], rest: list[list[int]], room: int) -> Batch:
        import torch

        from tuning_room.engines.lanes import Lane, lanes_cache

        room += max(map(len, rest), default=0)
        states = [known.get(row) for row in rows]
        sizes = [_count(row) for row in states]
        lanes = [
            Lane(start, rows[start].prefix.states, states[start:stop], self.model.config, room)
            for start, stop in cut([id(row.prefix) for row in rows], [size + room for size in sizes])
        ]
        positions = torch.tensor([[len(row.prefix) + size] for row, size in zip(rows, sizes, strict=True)])
        return Batch(rows, lanes, lanes_cache(lanes, self.model.config), positions)

    def _forward(self, batch: Batch, new: list[list[int]], logits: int = 1) -> Any:
        """Return the scores behind the last tokens after giving each row its new ones, shorter ones filled up left."""
        import torch

        width = max(len(ids) for ids in new)
        gaps = torch.tensor([[width - len(ids)] for ids in new])
        ids = torch.tensor([[0] * (width - len(ids)) + ids for ids in new])
        for lane in batch.lanes:
            lane.show(gaps, width, self._queries_a_group())
        with self._adapting(batch):
            found = self.model(
                input_ids=ids,
                # Of four dimensions, it is let through unread: the lanes have masks of their own.
                attention_mask=torch.zeros(1, 1, 1, 1),
                position_ids=(batch.positions + torch.arange(width)[None] - gaps).clamp(min=0),
                past_key_values=batch.cache,
                use_cache=True,
                logits_to_keep=logits,
            )
        for lane in batch.lanes:
            lane.length += width
        batch.positions += width - gaps
        return found.logits

    @contextmanager
    def _adapting(self, batch: Batch) -> Iterator[None]:
        """Apply each adapter to its own rows, which stand in the adapters' order."""
        if self.adapted is None:
            yield
            return
        asked = Counter(row.prefix.model for row in batch.rows)
        self.adapted.counts = {name: asked[model] for model, name in self.adapters.items()}
        try:
            yield
        finally:
            self.adapted.counts = None

    def _queries_a_group(self) -> int:
        return int(self.model.config.num_attention_heads // self.model.config.num_key_value_heads)

    def _keep(self, batch: Batch, alive: list[int]) -> None:
        """Keep what was computed of the rows that have ended."""
        for i in sorted({*range(len(batch.rows))} - {*alive}):
            row = batch.rows[i]
            self.kept.add(Known(row.prefix.model, row.read, len(row.prefix), self._states(batch, i)))

    def _states(self, batch: Batch, place: int, count: int | None = None) -> Any:
        """Return the states of a row's own tokens up to the `count`th, by default of all that it has read.

        A row that has ended may have read more than it said.
        """
        row = batch.rows[place]
        return batch.states(place, (len(row.read) if count is None else count) - len(row.prefix))


def _count(states: Any) -> int:
    return 0 if states is None else int(states.shape[3])

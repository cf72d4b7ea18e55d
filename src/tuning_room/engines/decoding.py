"""Token by token for a whole batch: the loop around transformers' forward pass, and what it does not compute twice.

Four things make it faster than `generate`. A prefix that dialogues share is computed once and kept between calls, as is
what was computed of each dialogue (kept.py; vLLM's prefix caching). Dialogues attend to the prefix together (lanes.py;
Hydragen, arXiv 2402.05099). Rows leave the batch when their replies end, and others take their places (Orca's
iteration-level scheduling, OSDI 2022). And rows with the adapter and without it share a batch (layers.py).

Three dialogues, SPQ, SRT and SUV, of which S is the system turn, at most two in a batch and nothing kept so far.
Capital letters are read, small ones are generated, a dot ends a reply:

    forward pass   one row      the other
    prefix         S                         read once for all three, then kept
    1              P Q -> a     R T -> x
    2              a -> b       x -> .       the second dialogue has ended: its states are kept
    ahead                       U            the third one takes its place: all but its last token are read
    3              b -> c       V -> y
"""

from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tuning_room.engines import Sampling
from tuning_room.engines.batch import Ask, DecodeBatch, DialogueRow, Prefix, alike, cut
from tuning_room.engines.choosing import TokenChooser
from tuning_room.engines.kept import Kept, Known
from tuning_room.models.attention import KnownScores, departure, is_same, misfit
from tuning_room.rendering import shared_prefix

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from tuning_room.engines.layers import AdaptedRows

SHORTEST_PREFIX = 16  # a shorter shared beginning is computed for each dialogue
SLACK = 32  # up to this number of shared tokens after a kept prefix are computed for each dialogue: no new prefix
FEWEST_LEAVE = 8  # rows leave once one in this number has ended: each leaving copies the states of the others

Prefixes = dict[tuple[str, str | None], Prefix]  # by model and group; None for dialogues without their group's prefix
States = dict[
    DialogueRow, "Tensor | None"
]  # what is known of each row after its prefix: (layers, 2, heads, tokens, size)


class Decoder:
    """Reads dialogues and generates their replies; not safe for two threads at once.

    `adapters` are PEFT's names by the model names that dialogues have. `adapted` sets the rows that each of them is
    applied to; where it is given, dialogues of all names may share a batch. `most` is the number of rows in a batch.
    """

    def __init__(
        self,
        model: "PreTrainedModel | PeftModel",
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
        """Yield, step by step, pairs of a dialogue's index and its next token, the end-of-turn token included.

        Two dialogues of which the second ends first (2 is the end of turn) yield `[(0, 11), (1, 17)]`, `[(0, 12),
        (1, 2)]`, `[(0, 2)]`. What is added to a deque of asks meanwhile is answered too: the next turn of a dialogue,
        put in front.
        """
        waiting = asks if isinstance(asks, deque) else deque(asks)
        prefixes = self._prefixes(waiting)
        choose = TokenChooser(self.model.generation_config, sampling)
        batch, new = self._filled(None, [], waiting, prefixes, sampling.max_tokens)
        while batch.rows:
            tokens = choose(batch.rows, self._forward(batch, new)[:, -1]).tolist()
            # Rows that have ended stay until enough have: what the model says after their end is dropped.
            going = [pair for pair in zip(batch.rows, tokens, strict=True) if self.goes_on(pair[0].reply, sampling)]
            for row, token in going:
                row.reply.append(token)
            yield [(row.index, token) for row, token in going]
            alive = [i for i, row in enumerate(batch.rows) if self.goes_on(row.reply, sampling)]
            if len(batch.rows) - len(alive) >= max(1, len(batch.rows) // FEWEST_LEAVE):
                self._keep(batch, alive)
                if waiting:
                    batch, new = self._filled(batch, alive, waiting, prefixes, sampling.max_tokens)
                    continue
                batch.choose(alive)
            new = [row.reply[-1:] for row in batch.rows]

    def goes_on(self, reply: Sequence[int], sampling: Sampling) -> bool:
        """Return whether a reply of these tokens has not ended."""
        return len(reply) < sampling.max_tokens and not (reply and reply[-1] in self.ends)

    def read(
        self, name: str, prompts: list[list[int]], ends: Sequence[list[int]], room: int, logits: int = 1
    ) -> tuple[DecodeBatch, "Tensor"]:
        """Read prompts, each followed by an `end` of its own that is always computed, whatever is kept.

        Returns the batch and the scores after its last tokens, (prompts, logits, vocabulary).
        """
        prefix = self._prefix(name, prompts)
        rows = [DialogueRow(i, prefix, ids) for i, ids in enumerate(prompts)]
        known = self._known(rows)
        # A question that several answers are weighed for is read once.
        first = {tuple(row.prompt): row for row in reversed(rows)}
        self._read_ahead(list(first.values()), known, least=2 if len(first) == len(rows) else 1)
        known = {row: known[first[tuple(row.prompt)]] for row in rows}
        rest = [row.prompt[len(prefix) + _count(known[row]) :] + end for row, end in zip(rows, ends, strict=True)]
        batch = self._batch(rows, known, rest, room)
        return batch, self._forward(batch, rest, logits)

    def read_together(self, texts: Sequence[tuple[str, list[int]]], logits: int) -> "Tensor":
        """Read texts of several models in one batch, all of each, whatever is kept, as a mixed batch of replies is.

        Returns the scores after the last tokens, (texts, logits, vocabulary), in the texts' order.
        """
        prefixes = {name: Prefix(name, [], None, number) for number, name in enumerate(dict(texts))}
        rows = [DialogueRow(i, prefixes[name], tokens) for i, (name, tokens) in enumerate(texts)]
        ordered = self._in_order(rows, {})
        rest = [row.prompt for row in ordered]
        scores = self._forward(self._batch(ordered, {}, rest, 0), rest, logits)
        places = {row.index: place for place, row in enumerate(ordered)}
        return scores[[places[i] for i in range(len(rows))]]

    def scores(self, name: str, prompts: list[list[int]], ends: Sequence[list[int]], logits: int) -> "Sequence[Tensor]":
        """Return the scores after the last tokens of each prompt with its end, (logits, vocabulary) each."""
        return [*self.read(name, prompts, ends, 0, logits)[1]]

    def forget(self) -> None:
        """Empty the cache of earlier calls."""
        self.kept.clear()

    def prefix(self, name: str, tokens: list[int], number: int) -> Prefix:
        """Return a prefix of exactly these tokens, or an empty one if they are too few."""
        if len(tokens) < SHORTEST_PREFIX:
            return Prefix(name, [], None, number)
        length, known = self.kept.prefix(name, tokens)
        if known is None or length < len(tokens):
            known = self._computed(name, tokens, length, known)
        self.kept.add(known)
        return Prefix(name, tokens, known.states[..., : len(tokens), :], number)

    def join(self, batch: DecodeBatch | None, rows: list[DialogueRow], room: int) -> DecodeBatch:
        """Return the batch with these rows in lanes of their own, read up to the last token of their prompts."""
        known = self._known(rows)
        self._read_ahead(rows, known, least=1)
        come = self._in_order(rows, known)
        new = self._batch(come, known, [row.prompt[-1:] for row in come], room)
        if batch is None or not batch.rows:
            return new
        batch.join(new, lambda row: (self._order.get(row.prefix.model, len(self._order)), row.prefix.number))
        return batch

    def advance(self, batch: DecodeBatch, room: int) -> "Tensor":
        """Read each row's last token and return the scores of its next one, (rows, vocabulary)."""
        for lane in batch.lanes:
            lane.grow(room)
        return self._forward(batch, [(row.reply or row.prompt)[-1:] for row in batch.rows])[:, -1]

    def leave(self, batch: DecodeBatch, alive: list[int]) -> None:
        """Drop all rows but those at these places, and keep what was computed of the others."""
        self._keep(batch, alive)
        batch.choose(alive)

    def _filled(
        self, batch: DecodeBatch | None, alive: list[int], waiting: deque[Ask], prefixes: Prefixes, room: int
    ) -> tuple[DecodeBatch, list[list[int]]]:
        """Return a batch of the rows that are alive and of those that waited, and what each of them reads next."""
        known: States = {batch.rows[i]: self._states(batch, i) for i in alive} if batch else {}
        come = [self._row(waiting.popleft(), prefixes) for _ in range(min(len(waiting), self.most - len(known)))]
        known |= self._known(come)
        self._read_ahead(come, known, least=1 if alive else 2)
        rows = self._in_order(known, known)
        rest = [[*row.prompt, *row.reply][len(row.prefix) + _count(known[row]) :] for row in rows]
        return self._batch(rows, known, rest, room), rest

    def _row(self, ask: Ask, prefixes: Prefixes) -> DialogueRow:
        prefix = prefixes.get((ask.model, ask.group))
        if prefix is None or len(prefix) >= len(ask.tokens) or ask.tokens[: len(prefix)] != prefix.tokens:
            prefix = prefixes.setdefault((ask.model, None), Prefix(ask.model, [], None, len(prefixes)))
        return DialogueRow(ask.place, prefix, ask.tokens)

    def _in_order(self, rows: Iterable[DialogueRow], known: States) -> list[DialogueRow]:
        """Return rows by adapter, those of the base model last; within one by prefix, and the short ones first."""
        last = len(self._order)
        return sorted(
            rows, key=lambda r: (self._order.get(r.prefix.model, last), r.prefix.number, _count(known.get(r)))
        )

    def _known(self, rows: Iterable[DialogueRow]) -> States:
        """Return what is kept of each row after its prefix, except for its last token."""
        return {row: self.kept.row(row.prefix.model, row.prompt, len(row.prefix), len(row.prompt) - 1) for row in rows}

    def _read_ahead(self, rows: Sequence[DialogueRow], known: States, *, least: int) -> None:
        """Read all but the last token of rows, those of similar length together, and add their states to `known`.

        With fewer such groups than `least` nothing is read: the batch itself then reads them.
        """
        sizes = [len(row.prompt) - len(row.prefix) - _count(known[row]) for row in rows]
        groups = alike(sizes)
        for group in groups if len(groups) >= least else ():
            chosen = self._in_order([rows[i] for i in group if sizes[i] > 1], known)
            if chosen:
                rest = [row.prompt[len(row.prefix) + _count(known[row]) : -1] for row in chosen]
                batch = self._batch(chosen, known, rest, 0)
                self._forward(batch, rest)
                known |= {row: self._states(batch, i, len(row.prompt) - 1) for i, row in enumerate(chosen)}

    def _prefixes(self, asks: Iterable[Ask]) -> Prefixes:
        """Return the prefix of each model's groups."""
        begun: dict[tuple[str, str | None], list[list[int]]] = {}
        for ask in asks:
            begun.setdefault((ask.model, ask.group), []).append(ask.tokens)
        return {key: self._prefix(key[0], prompts, number) for number, (key, prompts) in enumerate(begun.items())}

    def _prefix(self, name: str, prompts: list[list[int]], number: int = 0) -> Prefix:
        """Return the common prefix with its states, which are computed unless they are kept."""
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
        row, rest = DialogueRow(0, start, tokens), tokens[len(start) :]
        batch = self._batch([row], {}, [rest], 0)
        self._forward(batch, [rest])
        new = self._states(batch, 0, len(tokens))
        return Known(name, tokens, 0, new if start.states is None else torch.cat([start.states, new], dim=3))

    def _batch(self, rows: list[DialogueRow], known: States, rest: list[list[int]], room: int) -> DecodeBatch:
        import torch

        from tuning_room.engines.lanes import Lane, lanes_cache

        room += max(map(len, rest), default=0)
        states = [known.get(row) for row in rows]
        sizes = [_count(row) for row in states]
        lanes = [
            Lane(start, rows[start].prefix.states, states[start:stop], self.model, room)
            for start, stop in cut([id(row.prefix) for row in rows], [size + room for size in sizes])
        ]
        positions = torch.tensor([[len(row.prefix) + size] for row, size in zip(rows, sizes, strict=True)])
        return DecodeBatch(rows, lanes, lanes_cache(lanes, self.model.config), positions)

    def _forward(self, batch: DecodeBatch, new: list[list[int]], logits: int = 1) -> "Tensor":
        """Return the scores after the last tokens, (rows, logits, vocabulary), once each row has read its new ones.

        Shorter rows are padded on the left. Rows at positions 4 and 6 that read [8, 9] and [7]:

            ids [[8, 9], [0, 7]]   gaps [[0], [1]]   position_ids [[4, 5], [5, 6]]   then positions [[6], [7]]
        """
        import torch

        width = max(len(ids) for ids in new)
        gaps = torch.tensor([[width - len(ids)] for ids in new])  # (rows, 1)
        ids = torch.tensor([[0] * (width - len(ids)) + ids for ids in new])  # (rows, width)
        for lane in batch.lanes:
            lane.show(gaps, width, self._queries_a_group())
        positions = (batch.positions + torch.arange(width)[None] - gaps).clamp(min=0)
        device = self.model.device
        with self._adapting(batch):
            found = self.model(
                input_ids=ids.to(device),
                # With four dimensions it is passed on unread: the lanes have masks of their own.
                attention_mask=torch.zeros(1, 1, 1, 1, device=device),
                position_ids=positions.to(device),
                past_key_values=batch.cache,
                use_cache=True,
                logits_to_keep=logits,
            )
        for lane in batch.lanes:
            lane.length += width
        batch.positions += width - gaps
        scores: Tensor = found.logits
        return scores

    @contextmanager
    def _adapting(self, batch: DecodeBatch) -> Iterator[None]:
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

    def _keep(self, batch: DecodeBatch, alive: list[int]) -> None:
        """Keep what was computed of the rows that have ended."""
        for i in sorted({*range(len(batch.rows))} - {*alive}):
            row = batch.rows[i]
            self.kept.add(Known(row.prefix.model, row.read, len(row.prefix), self._states(batch, i)))

    def _states(self, batch: DecodeBatch, place: int, count: int | None = None) -> "Tensor":
        """Return the states of a row's own tokens up to the `count`th, by default of all in `DialogueRow.read`.

        A row that has ended may have been given more tokens than its reply has.
        """
        row = batch.rows[place]
        return batch.states(place, (len(row.read) if count is None else count) - len(row.prefix))


def _count(states: "Tensor | None") -> int:
    return 0 if states is None else int(states.shape[3])


def unlike_lanes(model: "PreTrainedModel", known: KnownScores) -> str:
    """Have a model attend in lanes and return ''; or return why it cannot, and leave it as it was."""
    from tuning_room.engines.lanes import install

    if reason := departure(model.config):
        return reason
    own = model.config._attn_implementation
    try:
        install(model)
        if _same_in_lanes(Decoder(model, set()), known):
            return ""
        reason = "its scores would differ"
    except Exception as error:
        reason = misfit(error)
    model.set_attn_implementation(own)
    return reason


def _same_in_lanes(decoder: Decoder, known: KnownScores) -> bool:
    """Return whether reading rows in a batch, and then one more token of each, gives the scores of each row alone."""
    import torch

    with torch.no_grad():
        batch, before = decoder.read("", [row[:-2] for row in known.rows], [row[-2:-1] for row in known.rows], 1)
        after = decoder._forward(batch, [row[-1:] for row in known.rows])
    found = torch.cat([before, after], dim=1)  # (rows, 2, vocabulary)
    return all(is_same(pair, alone[-2:]) for pair, alone in zip(found, known.scores, strict=True))

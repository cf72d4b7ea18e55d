"""Replies to whoever asks, whenever they ask, in one batch that newcomers join and the finished leave at any token.

The idea is Orca's iteration-level scheduling (OSDI 2022), as in vLLM. decoding.py does it for one call's dialogues,
which all are there at the start and are drawn alike; here each row has its own limit, seed and settings. A newcomer is
read and then joins the batch with a lane of its own (lanes.py), so nothing of the others is copied.

    step   first client      second client    third client
    1      a
    2      b                 asks: read, x
    3      c                 y                asks: read, p
    4      . (ends, leaves)  z                q
    5                        . (has left)     r
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from tuning_room.engines import Drawing, Sampling, UnfitRequestError
from tuning_room.engines.batch import Ask, DialogueRow, Prefix
from tuning_room.engines.drawing import Chosen, RowChooser

if TYPE_CHECKING:
    from tuning_room.engines.batch import DecodeBatch
    from tuning_room.engines.decoding import Decoder

ROOM = 64  # tokens that a lane has room for before it is copied into a larger one
MOST_BYTES = 2 << 30  # of keys and values of all rows; a row that would need more waits, unless it is alone
EXPECTED = 256  # tokens for which a reply counts at most: few are as long as they may be
MOST_PREFIXES = 8  # system turns whose states are held, the latest used


@dataclass(eq=False)
class LiveReply:
    """A reply that somebody waits for: what was asked, how it is drawn, and the tokens that have not been fetched yet.

    The last thing fetched is None, or the error that ended the reply. `has_left` is set when nobody waits any more.
    """

    ask: Ask
    start: list[int]
    limit: int
    ends: set[int]
    choose: RowChooser
    tokens: "SimpleQueue[Chosen | Exception | None]" = field(default_factory=SimpleQueue)
    has_left: bool = False

    @property
    def expected(self) -> int:
        """How many tokens of its own its row will hold, as far as can be foreseen."""
        return len(self.ask.tokens) - len(self.start) + min(self.limit, EXPECTED)

    def goes_on(self, row: DialogueRow) -> bool:
        """Return whether the reply has neither ended nor been left."""
        ended = row.reply and row.reply[-1] in self.ends
        return not (ended or self.has_left or len(row.reply) >= self.limit)


class ContinuousBatch:
    """One batch for all who ask from any thread; a thread of its own computes while there is anything to compute.

    `hold` gives the model to that thread for one step, under a model's name or '' if rows of all models may be mixed.
    """

    def __init__(self, decoder: "Decoder", hold: Callable[[str], AbstractContextManager[None]], *, mixes: bool) -> None:
        self._decoder, self._hold, self._mixes = decoder, hold, mixes
        self._mutex = Lock()
        self._waiting: deque[LiveReply] = deque()
        self._is_running = False
        self._prefixes: OrderedDict[tuple[str, tuple[int, ...]], Prefix] = OrderedDict()
        self._numbers = 0
        self._most_tokens = MOST_BYTES // _bytes_a_token(decoder)

    def answer(self, ask: Ask, start: list[int], sampling: Sampling, drawing: Drawing) -> Generator[Chosen, None, None]:
        """Yield a reply's tokens, the one that ends it included; whoever closes the generator stops the reply.

        `start` is what other prompts begin with as well: the system turn.
        """
        choose = RowChooser(self._decoder.model.generation_config, sampling, drawing)
        ends = {*self._decoder.ends, *drawing.stop_tokens}
        reply = LiveReply(ask, start, sampling.max_tokens, ends, choose)
        self._add(reply)
        try:
            while (found := reply.tokens.get()) is not None:
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            reply.has_left = True

    def _add(self, reply: LiveReply) -> None:
        with self._mutex:
            self._waiting.append(reply)
            if not self._is_running:
                self._is_running = True
                # Not a daemon: Python could exit in the midst of torch's work.
                Thread(target=self._run, name="continuous-batch").start()

    def _run(self) -> None:
        under_way: dict[DialogueRow, LiveReply] = {}
        batch: DecodeBatch | None = None
        while self._has_work(under_way):
            try:
                with self._hold(self._model(under_way)):
                    batch = self._joined(batch, under_way)
                    if under_way and batch:
                        self._advance(batch, under_way)
            except Exception as error:
                # All rows share the forward pass that failed; those who still wait are tried afresh.
                batch = None
                self._fail(under_way, error)

    def _has_work(self, under_way: dict[DialogueRow, LiveReply]) -> bool:
        with self._mutex:
            self._is_running = bool(under_way or self._waiting)
            return self._is_running

    def _model(self, under_way: dict[DialogueRow, LiveReply]) -> str:
        if self._mixes:
            return ""
        return next(iter([*under_way.values(), *self._waiting])).ask.model

    def _fail(self, under_way: dict[DialogueRow, LiveReply], error: Exception) -> None:
        failed = list(under_way.values())
        under_way.clear()
        if not failed:
            with self._mutex:
                failed = list(self._waiting)
                self._waiting.clear()
        for reply in failed:
            reply.tokens.put(error)

    def _joined(self, batch: "DecodeBatch | None", under_way: dict[DialogueRow, LiveReply]) -> "DecodeBatch | None":
        """Return the batch with those who wait, as many as it has room for."""
        come: dict[DialogueRow, LiveReply] = {}
        for reply in self._next(self._decoder.most - len(under_way), under_way):
            try:
                come[self._row(reply)] = reply
            except Exception as error:
                reply.tokens.put(error)
        if not come:
            return batch
        try:
            batch = self._decoder.join(batch, list(come), ROOM)
        except Exception as error:
            self._fail(come, error)
            return batch
        under_way |= come
        return batch

    def _next(self, room: int, under_way: dict[DialogueRow, LiveReply]) -> list[LiveReply]:
        """Return the first who wait and fit into the batch; one who does not holds up those behind it."""
        found: list[LiveReply] = []
        with self._mutex:
            while self._waiting and len(found) < room and self._fits([*under_way.values(), *found], self._waiting[0]):
                if (reply := self._waiting.popleft()).has_left:
                    # Its model is the one that is held: the next may be another's, and waits for its own turn.
                    if not self._mixes and not found and not under_way:
                        break
                    continue
                found.append(reply)
        return found

    def _fits(self, others: list[LiveReply], reply: LiveReply) -> bool:
        if not others:
            return True
        is_alike = self._mixes or others[0].ask.model == reply.ask.model
        return is_alike and sum(one.expected for one in [*others, reply]) <= self._most_tokens

    def _row(self, reply: LiveReply) -> DialogueRow:
        ask = reply.ask
        key = (ask.model, tuple(reply.start))
        if key not in self._prefixes:
            self._numbers += 1
            self._prefixes[key] = self._decoder.prefix(ask.model, reply.start, self._numbers)
        self._prefixes.move_to_end(key)
        while len(self._prefixes) > MOST_PREFIXES:
            self._prefixes.popitem(last=False)
        return DialogueRow(ask.place, self._prefixes[key], ask.tokens)

    def _advance(self, batch: "DecodeBatch", under_way: dict[DialogueRow, LiveReply]) -> None:
        """Give each row its next token, and let those leave whose replies have ended."""
        scores = self._decoder.advance(batch, ROOM)
        likeliest = scores.argmax(-1).tolist()
        for place, row in enumerate(batch.rows):
            reply = under_way[row]
            try:
                chosen = reply.choose(row, scores[place], likeliest[place])
            except Exception as error:
                reply.tokens.put(error)
                reply.has_left = True
                continue
            row.reply.append(chosen.token)
            reply.tokens.put(chosen)
        alive = [place for place, row in enumerate(batch.rows) if under_way[row].goes_on(row)]
        if len(alive) < len(batch.rows):
            ended = {*batch.rows} - {batch.rows[place] for place in alive}
            self._decoder.leave(batch, alive)
            for row in ended:
                under_way.pop(row).tokens.put(None)


class ReplyByReply:
    """Replies one after another, for a decoder whose rows cannot come and go: it draws by temperature and seed alone.

    `steps` yields the tokens of some dialogues under a model's name, and holds the model meanwhile.
    """

    def __init__(
        self, steps: "Callable[[str, Iterable[Ask], Sampling], Generator[list[tuple[int, int]], None, None]]"
    ) -> None:
        self._steps = steps

    def answer(
        self, ask: Ask, _start: list[int], sampling: Sampling, drawing: Drawing
    ) -> Generator[Chosen, None, None]:
        """Yield a reply's tokens; UnfitRequestError for what cannot be done."""
        if not drawing.is_plain:
            raise UnfitRequestError("this model's replies are drawn by temperature and seed alone")
        found: SimpleQueue[Chosen | Exception | None] = SimpleQueue()
        left = Event()
        # A thread of its own, which the model's state belongs to: readers come from any.
        Thread(target=self._feed, args=(ask, sampling, found, left)).start()
        try:
            while (chosen := found.get()) is not None:
                if isinstance(chosen, Exception):
                    raise chosen
                yield chosen
        finally:
            left.set()

    def _feed(self, ask: Ask, sampling: Sampling, found: "SimpleQueue[Chosen | Exception | None]", left: Event) -> None:
        try:
            with closing(self._steps(ask.model, [ask], sampling)) as steps:
                for ((_, token),) in steps:
                    found.put(Chosen(token))
                    if left.is_set():
                        break
            found.put(None)
        except Exception as error:
            found.put(error)


def _bytes_a_token(decoder: "Decoder") -> int:
    config = decoder.model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_hidden_layers * 2 * config.num_key_value_heads * size * 4)


class Turns:
    """A lock that threads get in the order in which they asked; a plain one often goes to whoever has just had it."""

    def __init__(self) -> None:
        self._mutex = Lock()
        self._line: deque[Lock] = deque()

    def __enter__(self) -> None:
        mine = Lock()
        mine.acquire()
        with self._mutex:
            self._line.append(mine)
            is_first = len(self._line) == 1
        if is_first:
            return
        try:
            mine.acquire()
        except BaseException:
            self._give_up(mine)
            raise

    def __exit__(self, *_error: object) -> None:
        with self._mutex:
            self._pass_on()

    def _pass_on(self) -> None:
        self._line.popleft()
        if self._line:
            self._line[0].release()

    def _give_up(self, mine: Lock) -> None:
        """Leave the line on an interrupt, which may come just as the turn does."""
        with self._mutex:
            if self._line[0] is mine:
                self._pass_on()
            else:
                self._line.remove(mine)

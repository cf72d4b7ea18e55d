"""The teacher: an engine behind a journal, within a budget."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.engines import Engine, Reply, Sampling
from tuning_room.engines.addresses import public
from tuning_room.engines.asking import Outcome
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.engines.journal import Journal
from tuning_room.engines.limits import Budget, Ceiling, Pace, Prices, Usage, counted, estimated_tokens
from tuning_room.errors import BudgetError, EngineError, GivenUpError, RecipeError
from tuning_room.generate.cleaning import Cleaned, Writes, cleaned
from tuning_room.generate.config import TeacherConfig
from tuning_room.progress import ProgressBar
from tuning_room.records import Message

ANSWERS = "answers.jsonl"  # in the folder `generation` of a run
EMPTY = "the teacher's reply is empty"
CUT_OFF = "the teacher's reply was cut off at {} tokens"
ONLY_REASONING = "the teacher's reply is reasoning without an answer"
MORE_TOKENS = "raise generate.teacher.max_tokens or, for a teacher that reasons, reasoning_tokens"


BATCH = 32  # replies that a local teacher makes between two entries in the journal: what a kill can cost


class TeacherAnswer(NamedTuple):
    """A teacher's reply, or the error that came instead."""

    text: str
    error: str


class TeacherStep(NamedTuple):
    """A step of a flow: its name, what its replies become, and the tokens that it needs beyond `max_tokens`."""

    name: str = ""
    writes: Writes = "notes"
    extra_tokens: int = 0


PLAIN_STEP = TeacherStep()


class Teacher:
    """Answers dialogues. Each reply is written down as soon as it comes in, and as it is; what is returned is cleaned.

    `stopped` says which limit of the budget was reached, '' if none. Once a reply shows that the teacher `reasons`, all
    replies may be longer by `reasoning_tokens`, and those that were cut off are asked for once more. `wants_json` says
    that the answers are to be JSON. Raises RecipeError for a teacher without its address or model, and EngineError when
    a server refuses everything or is gone; what it has answered so far is kept.
    """

    def __init__(self, config: TeacherConfig, journal: Path, *, wants_json: bool = False) -> None:
        check(config)
        self.config = config
        self.wants_json = wants_json
        self.journal = Journal(journal)
        ceiling = Ceiling(config.max_requests, config.max_tokens_total, config.max_cost)
        self.budget = Budget(ceiling, Prices(config.prompt_price, config.reply_price), self.journal.spent)
        self.pace = Pace(config.requests_per_minute, config.tokens_per_minute)
        self.local = LocalTeacher(config.model) if config.kind == "local" else None
        self.stopped = ""
        self.reasons = False
        self._cut_off: set[str] = set()
        self._without_answer: set[str] = set()
        self._found: dict[str, Cleaned] = {}
        self._given_up: GivenUpError | None = None

    def answers(
        self, dialogues: Sequence[Sequence[Message]], seeds: Sequence[int], step: TeacherStep = PLAIN_STEP
    ) -> list[TeacherAnswer]:
        """Return one answer per dialogue, in order; those in the journal are not asked for again.

        Identical dialogues are asked once, unless their seeds or the steps of the flow differ.
        """
        keys = [self.key(dialogue, seed, step) for dialogue, seed in zip(dialogues, seeds, strict=True)]
        missing = {key: i for i, key in reversed(list(enumerate(keys))) if not self.known(key, step)}
        chosen = sorted(missing.values())
        errors = self._ask([keys[i] for i in chosen], [dialogues[i] for i in chosen], [seeds[i] for i in chosen], step)
        return [TeacherAnswer(self.known(key, step), errors.get(key, "")) for key in keys]

    def known(self, key: str, step: TeacherStep) -> str:
        """Return the answer in the journal, cleaned; '' where there is none, or nothing usable is left of it.

        Older journals do not say why a reply ended: one of full length may have been cut off.
        """
        if self.journal.unexplained.get(key, 0) >= self.most_tokens(step):
            return ""
        found = self._cleaned(self.journal.known.get(key, ""), step)
        if found.text:
            self._found[key] = found
            self.reasons |= "reasoning" in found.taken_off
        return found.text

    def room(self, step: TeacherStep) -> int:
        """Return the tokens that a step's replies may have by now: with room for reasoning if the teacher reasons."""
        return self.most_tokens(step) + (self.config.reasoning_tokens if self.reasons else 0)

    def most_tokens(self, step: TeacherStep) -> int:
        """Return the longest reply that a step may have, in tokens, without room for reasoning."""
        return self.config.max_tokens + step.extra_tokens

    def _cleaned(self, text: str, step: TeacherStep) -> Cleaned:
        return cleaned(text, step.writes, wants_json=self.wants_json)

    def key(self, dialogue: Sequence[Message], seed: int, step: TeacherStep) -> str:
        """Return the sha256 of exactly what an answer depends on."""
        model = [self.config.model, self.local.digest() if self.local else public(self.config.address)]
        sampling = [self.most_tokens(step), self.config.temperature, seed]
        turns = ", ".join(_turn_json(message.role, message.content) for message in dialogue)
        return hashlib.sha256(f"{json.dumps([model, sampling, step.name])[:-1]}, [{turns}]]".encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """Return what was used in this run folder, what was wrong with replies, and why not everything was asked."""
        spent = self.budget.spent
        return {
            "requests": spent.requests,
            "tokens": spent.tokens,
            "cost": round(self.budget.cost, 6),
            "stopped": self.stopped,
            "cleaned": dict(Counter(kind for found in self._found.values() for kind in found.taken_off)),
            "unknown_tags": dict(Counter(found.unknown_tag for found in self._found.values() if found.unknown_tag)),
            "cut_off": len(self._cut_off),
            "reasoning_tokens": self.config.reasoning_tokens if self.reasons else 0,
        }

    def _ask(
        self, keys: list[str], dialogues: list[Sequence[Message]], seeds: list[int], step: TeacherStep
    ) -> dict[str, str]:
        errors: dict[str, str] = {}
        asked = list(range(len(keys)))
        while asked:
            room = self.room(step)
            tried = [keys[i] for i in asked]
            errors |= dict.fromkeys(tried, "")
            errors |= self._ask_once(tried, [dialogues[i] for i in asked], [seeds[i] for i in asked], step)
            unfinished = self._cut_off | self._without_answer
            asked = [i for i in asked if keys[i] in unfinished and self.room(step) > room]
        return errors

    def _ask_once(
        self, keys: list[str], dialogues: list[Sequence[Message]], seeds: list[int], step: TeacherStep
    ) -> dict[str, str]:
        errors: dict[str, str] = {}
        room = self.room(step)
        samplings = [Sampling(room, self.config.temperature, seed) for seed in seeds]
        started, before = time.monotonic(), self.budget.spent.requests
        asking = closing(self._outcomes(dialogues, samplings))
        with self.journal.open(), ProgressBar("teacher", len(keys)) as bar, asking as outcomes:
            for index, outcome in outcomes:
                if error := self._noted(keys[index], dialogues[index], outcome, step, room):
                    errors[keys[index]] = error
                bar.advance()
                bar.describe(self._so_far((self.budget.spent.requests - before) / (time.monotonic() - started)))
        if self._given_up:
            raise self._resumable(self._given_up)
        return errors

    def _resumable(self, error: GivenUpError) -> EngineError:
        kept = f"{len(self.journal.known)} answers are kept; run the same command again to go on"
        return EngineError(error.args[0], hint=f"{error.hint}; {kept}" if error.hint else kept)

    def _outcomes(
        self, dialogues: list[Sequence[Message]], samplings: list[Sampling]
    ) -> Generator[tuple[int, Outcome], None, None]:
        if self.local:
            return self.local.outcomes(dialogues, samplings, self.budget)
        engine = EndpointEngine(
            self.config.address,
            self.config.model,
            key_variable=self.config.key_variable,
            concurrency=self.config.concurrency,
            timeout=self.config.timeout,
            retries=self.config.retries,
            pace=self.pace,
        )
        return engine.outcomes(self.config.model, dialogues, samplings, self.budget)

    def _noted(self, key: str, dialogue: Sequence[Message], outcome: Outcome, step: TeacherStep, room: int) -> str:
        """Write down an outcome and return its error, '' if it is a usable reply."""
        self._cut_off.discard(key)
        self._without_answer.discard(key)
        if isinstance(outcome, Reply):
            error = self._fault(key, outcome, step, room)
            usage = counted(outcome, estimated_tokens(dialogue))
            # Written down without its text, a failed reply counts as paid for and is asked for again.
            self.journal.add_text(key, "" if error else outcome.text, usage, outcome.finish_reason)
            return error
        if isinstance(outcome, BudgetError):
            self.stopped = str(outcome)
        elif isinstance(outcome, GivenUpError):
            self._given_up = outcome
        else:
            self.journal.add_error(key, str(outcome))
        return str(outcome)

    def _fault(self, key: str, reply: Reply, step: TeacherStep, room: int) -> str:
        """Return why a reply cannot be used, '' if it can."""
        found = self._cleaned(reply.text, step)
        self.reasons |= reply.has_reasoned or "reasoning" in found.taken_off
        if reply.finish_reason == "length":
            self._cut_off.add(key)
            return f"{CUT_OFF.format(room)}: {MORE_TOKENS}"
        if found.text or found.fault:
            return found.fault
        if not (found.taken_off or reply.has_reasoned):
            return EMPTY
        self._without_answer.add(key)
        return f"{ONLY_REASONING}: {MORE_TOKENS}"

    def _so_far(self, rate: float) -> str:
        cost = f", {self.budget.cost:.2f} spent" if any(self.budget.prices) else ""
        return f"{rate:.1f} requests/s, {self.budget.spent.tokens:,} tokens{cost}"


@lru_cache(maxsize=256)
def _turn_json(role: str, content: str) -> str:
    # Cached, since the full prompt is the first turn of thousands of dialogues.
    return json.dumps({"content": content, "role": role})


def check(config: TeacherConfig) -> None:
    """Raise RecipeError if a teacher lacks what its kind needs."""
    for field in ("address", "model") if config.kind == "endpoint" else ("model",):
        if not getattr(config, field):
            raise RecipeError(
                f"generate.teacher.{field}: a teacher of kind {config.kind} needs it", hint="write it into the recipe"
            )


class LocalTeacher:
    """A model in this process, by its reference; it is loaded when first asked, unless an engine is given."""

    def __init__(self, model: str, engine: Engine | None = None) -> None:
        self.model = model
        self._engine = engine
        self._digest = ""

    def digest(self) -> str:
        """Return the sha256 of the model's files, since a folder's content may change under the same name."""
        from tuning_room.files import digest
        from tuning_room.models import resolve

        self._digest = self._digest or digest(resolve(self.model))
        return self._digest

    def outcomes(
        self, dialogues: Sequence[Sequence[Message]], samplings: Sequence[Sampling], budget: Budget
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Yield each dialogue's index and its reply or error. A batch is drawn under the seed of its first row."""
        for start in range(0, len(dialogues), BATCH):
            batch = list(range(start, min(start + BATCH, len(dialogues))))
            reserved = {i: Usage(1, estimated_tokens(dialogues[i]), samplings[i].max_tokens) for i in batch}
            allowed = [i for i in batch if budget.reserve(reserved[i])]
            answered = self._answered([dialogues[i] for i in allowed], samplings[start]) if allowed else []
            for i, outcome in zip(allowed, answered, strict=True):
                budget.settle(reserved[i], _used(outcome, reserved[i]))
                yield i, outcome
            for i in sorted(set(batch) - set(allowed)):
                yield i, BudgetError(f"the budget is used up: {budget.short(reserved[i])}")

    def _answered(self, dialogues: list[Sequence[Message]], sampling: Sampling) -> Sequence[Outcome]:
        """Answer all at once or, where that fails, one by one, so that only the row that cannot be answered fails."""
        engine = self._loaded()
        try:
            return engine.complete(engine.models()[0], dialogues, sampling)
        except Exception as error:
            if len(dialogues) == 1:
                return [EngineError(f"model '{self.model}': cannot answer ({' '.join(str(error).split())[:300]})")]
        return [self._answered([dialogue], sampling)[0] for dialogue in dialogues]

    def _loaded(self) -> Engine:
        if self._engine is None:
            from tuning_room.engines.local import LocalEngine
            from tuning_room.models import base_name, resolve

            self._engine = LocalEngine(resolve(self.model), base=base_name(self.model), batch_size=BATCH)
        return self._engine


def _used(outcome: Outcome, reserved: Usage) -> Usage:
    return counted(outcome, reserved.prompt_tokens) if isinstance(outcome, Reply) else Usage(requests=1)

"""What a teacher would be asked and what that would cost, without asking it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tuning_room.engines.limits import Budget, Usage, estimated_tokens
from tuning_room.generate.config import GenerateConfig, TeacherConfig
from tuning_room.generate.teacher import ANSWERS, PLAIN_STEP, Teacher, TeacherAnswer, TeacherStep
from tuning_room.records import Message
from tuning_room.workspace import Workspace

ENDPOINT_SPEED = 50.0  # tokens a second a request, assumed
LOCAL_SPEED = 80.0  # tokens a second in all: 135M parameters on two cores (docs/lab_log.md)
STAND_IN = "ab "  # one token, whether a tokenizer counts or the length


class Estimate(BaseModel):
    """What is left to ask: prompt tokens as counted by `counted_by`, reply tokens and cost at most, seconds at `speed`.

    `answered` counts the answers in the journal that would be used again; `stop` is the limit of the budget that would
    be reached, '' if none.
    """

    model_config = ConfigDict(frozen=True)

    requests: int
    answered: int
    prompt_tokens: int
    reply_tokens: int
    cost: float | None
    seconds: float
    speed: float
    counted_by: str
    stop: str


class CountingTeacher(Teacher):
    """Counts what it would ask. It answers from the journal where it can, otherwise with stand-ins of full length."""

    def __init__(self, config: TeacherConfig, journal: Path, *, wants_json: bool = False) -> None:
        super().__init__(config, journal, wants_json=wants_json)
        self.count = counter(config)
        self.asked: dict[str, Usage] = {}
        self.answered: set[str] = set()

    def answers(
        self, dialogues: Sequence[Sequence[Message]], seeds: Sequence[int], step: TeacherStep = PLAIN_STEP
    ) -> list[TeacherAnswer]:
        """Return one answer per dialogue; nothing is sent or written."""
        return [
            self._answer(dialogue, self.key(dialogue, seed, step), step)
            for dialogue, seed in zip(dialogues, seeds, strict=True)
        ]

    def _answer(self, dialogue: Sequence[Message], key: str, step: TeacherStep) -> TeacherAnswer:
        if known := self.known(key, step):
            self.answered.add(key)
            return TeacherAnswer(known, "")
        if key not in self.asked:
            self.asked[key] = Usage(1, self.count(dialogue), self.room(step))
        # No two alike: identical questions would be asked once.
        return TeacherAnswer(f"{key[:12]} {STAND_IN * self.most_tokens(step)}".strip(), "")


def estimate(config: GenerateConfig, workspace: Workspace) -> Estimate | None:
    """Run the recipe's flow with a teacher that only counts; None if the recipe asks no model."""
    from tuning_room.generate.candidates import flow_candidates

    if config.teacher.kind == "rules":
        return None
    teacher = CountingTeacher(config.teacher, workspace.generation / ANSWERS, wants_json=config.wants_json)
    # Stand-ins pass no check.
    flow_candidates(config, workspace, teacher, checking=False)
    total = sum(teacher.asked.values(), Usage())
    prices = teacher.budget.prices
    speed = LOCAL_SPEED if teacher.local else ENDPOINT_SPEED * config.teacher.concurrency
    return Estimate(
        requests=total.requests,
        answered=len(teacher.answered),
        prompt_tokens=total.prompt_tokens,
        reply_tokens=total.completion_tokens,
        cost=prices.cost(total) if any(prices) else None,
        seconds=_seconds(config.teacher, total, speed),
        speed=speed,
        counted_by=_tokenizer(config.teacher),
        stop=Budget(teacher.budget.ceiling, prices, teacher.budget.spent).short(total),
    )


def counter(config: TeacherConfig) -> Callable[[Sequence[Message]], int]:
    """Return a function that counts a dialogue's tokens, by a tokenizer and chat template or from its length."""
    reference = _tokenizer(config)
    if not reference:
        return estimated_tokens
    from tuning_room.models import load_tokenizer, resolve
    from tuning_room.rendering import prompt_ids

    tokenizer = load_tokenizer(resolve(reference))
    return lambda dialogue: len(prompt_ids(tokenizer, dialogue))


def _tokenizer(config: TeacherConfig) -> str:
    return config.model if config.kind == "local" else config.tokenizer


def _seconds(config: TeacherConfig, total: Usage, speed: float) -> float:
    by_requests = total.requests * 60 / config.requests_per_minute if config.requests_per_minute else 0.0
    by_tokens = total.tokens * 60 / config.tokens_per_minute if config.tokens_per_minute else 0.0
    return max(total.completion_tokens / speed, by_requests, by_tokens)

"""A teacher in this process: the local engine, asked in batches, with errors and the budget by row."""

from collections.abc import Generator, Sequence

from tuning_room.engines import Engine, Reply, Sampling
from tuning_room.engines.asking import Outcome
from tuning_room.engines.limits import Budget, Usage, counted, estimated_tokens
from tuning_room.errors import BudgetError, EngineError
from tuning_room.records import Message

BATCH = 32  # replies between two entries of the journal: what a kill can cost


class LocalTeacher:
    """A model by its reference, loaded when it is first asked unless an engine is given."""

    def __init__(self, model: str, engine: Engine | None = None) -> None:
        self.model = model
        self._engine = engine
        self._digest = ""

    def digest(self) -> str:
        """Return the sha256 of the model's files: a folder's content may change under the same name."""
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
        """Answer together; where that fails, one by one, so that the row that cannot be answered is alone."""
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

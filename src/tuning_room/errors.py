"""Every error that Tuning Room raises on purpose.

TuningRoomError
 ├── RecipeError                 a recipe file or one of its fields
 ├── DocumentError               a document that cannot be read or converted
 ├── DataError                   a row of a data file
 ├── ModelError                  a base model or an adapter
 │    ├── ModelNotFoundError
 │    └── AdapterMismatchError
 ├── RenderingError              a chat template under which training and serving would differ
 ├── EngineError                 an engine that does not answer
 │    ├── BudgetError            a request not sent because it could exceed the budget
 │    └── GivenUpError           a request not sent because the server refuses them all or is gone
 ├── StageError                  a stage that cannot continue
 │    ├── MissingInputError      the stage before it has not run
 │    ├── WorkspaceBusyError     another process is using the run folder
 │    └── TrainingError
 │         └── DivergedError     the loss is NaN or keeps rising
 ├── OccupiedError               a place that holds something which is not ours to replace
 ├── LimitError                  work that needs more time or memory than it may have
 └── MissingPrerequisiteError    something that must be installed first

Each says what happened and where; its `hint` says what to do about it.
"""


class TuningRoomError(Exception):
    """The root of the tree: a message for the user and a hint at what to do."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.hint}" if self.hint else message


class RecipeError(TuningRoomError, ValueError):
    """A recipe that cannot be used as written."""


class DocumentError(TuningRoomError, ValueError):
    """A document that cannot be read or converted."""


class DataError(TuningRoomError, ValueError):
    """A malformed row of a data file."""


class ModelError(TuningRoomError):
    """A base model or an adapter that cannot be used."""


class ModelNotFoundError(ModelError, LookupError):
    """A model that is not embedded, not a folder and not on the hub."""


class AdapterMismatchError(ModelError, ValueError):
    """An adapter that was trained for a different base model or chat template."""


class RenderingError(TuningRoomError, ValueError):
    """A chat template under which training and serving would see different tokens."""


class EngineError(TuningRoomError, RuntimeError):
    """An engine that does not answer, or answers with something other than a chat completion."""


class BudgetError(EngineError):
    """A request that was not sent because it could exceed the budget."""


class GivenUpError(EngineError):
    """A request that was not sent because the server refuses them all or is gone."""


class StageError(TuningRoomError, RuntimeError):
    """A stage that cannot continue."""


class MissingInputError(StageError, FileNotFoundError):
    """A stage whose input does not exist yet."""


class WorkspaceBusyError(StageError):
    """A run folder that another process is using."""


class TrainingError(StageError):
    """Training that stopped early."""


class DivergedError(TrainingError):
    """A training run whose loss becomes NaN or keeps rising; its settings are to blame."""


class OccupiedError(TuningRoomError, FileExistsError):
    """A folder to write to that holds something which Tuning Room did not make."""


class LimitError(TuningRoomError, RuntimeError):
    """Work that was stopped: it needs more time or memory than it may have."""


class MissingPrerequisiteError(TuningRoomError, ImportError):
    """Something that must be installed first."""


def one_line(error: BaseException) -> str:
    """Return what a library says of its error as one line of a few words, or the error's kind if it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."

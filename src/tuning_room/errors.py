"""Every error that Tuning Room raises on purpose.

TuningRoomError
 ├── RecipeError                 a recipe file or one of its fields
 ├── DocumentError               a document that cannot be read or converted
 ├── DataError                   a row of a data file
 ├── ModelError                  a base model or an adapter
 │    ├── ModelNotFoundError
 │    └── AdapterMismatchError
 ├── RenderingError              a chat template that does not do what training needs
 ├── EngineError                 an engine that does not answer
 │    ├── BudgetError            a request that was not sent, since it could exceed the budget
 │    └── GivenUpError           a request that was not sent, since the server refuses all, or is gone
 ├── StageError                  a stage that cannot go on
 │    ├── MissingInputError      the stage before it has not run
 │    ├── WorkspaceBusyError     another process works in the same run folder
 │    └── TrainingError
 │         └── DivergedError     the loss is no number, or explodes
 ├── OccupiedError               a place that holds something which is not ours to replace
 └── MissingPrerequisiteError    something that has to be installed first

Each says what happened and where; `hint` says what to do about it.
"""


class TuningRoomError(Exception):
    """The root of the tree: a message for the user, and what to do about it."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.hint}" if self.hint else message


class RecipeError(TuningRoomError, ValueError):
    """A recipe that cannot be used as it is written."""


class DocumentError(TuningRoomError, ValueError):
    """A document that cannot be read or converted."""


class DataError(TuningRoomError, ValueError):
    """A row of a data file that is not what it should be."""


class ModelError(TuningRoomError):
    """A base model or an adapter that cannot be used."""


class ModelNotFoundError(ModelError, LookupError):
    """A model that is neither embedded, nor a folder, nor on the hub."""


class AdapterMismatchError(ModelError, ValueError):
    """An adapter that was trained for another base model or chat template."""


class RenderingError(TuningRoomError, ValueError):
    """A chat template under which training and serving would see different tokens."""


class EngineError(TuningRoomError, RuntimeError):
    """An engine that does not answer, or not with a chat completion."""


class BudgetError(EngineError):
    """A request that was not sent, since it could exceed the budget."""


class GivenUpError(EngineError):
    """A request that was not sent, since the server refuses all of them or is gone."""


class StageError(TuningRoomError, RuntimeError):
    """A stage that cannot go on."""


class MissingInputError(StageError, FileNotFoundError):
    """A stage whose input has not been made yet."""


class WorkspaceBusyError(StageError):
    """A run folder in which another process is at work."""


class TrainingError(StageError):
    """Training that stopped before its end."""


class DivergedError(TrainingError):
    """A training whose loss is no number any more, or goes up and up: its settings are at fault."""


class OccupiedError(TuningRoomError, FileExistsError):
    """A folder to write to that holds something which Tuning Room did not make."""


class MissingPrerequisiteError(TuningRoomError, ImportError):
    """Something that has to be installed first."""

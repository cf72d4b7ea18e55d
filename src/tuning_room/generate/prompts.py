"""Prompt files: chat messages in YAML, with templates that are rendered in a sandbox."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tuning_room.bounded import bounded
from tuning_room.errors import LimitError, RecipeError
from tuning_room.generate.rule_files import read_checked
from tuning_room.records import Role

# A recipe from elsewhere may bring prompt files; all they can do is fill in a row's values.
SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


class PromptMessage(BaseModel):
    """One message of a prompt file; the content is a Jinja template."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    role: Role
    content: str = Field(min_length=1)


MESSAGES = TypeAdapter(list[PromptMessage])
HINT = "docs/generate.md says what a prompt file holds"


@cache
def _compiled(content: str) -> Template:
    return SANDBOX.from_string(content)


def _filled_in(content: str, values: Mapping[str, object]) -> str:
    """Return a template with values filled in; the sandbox keeps it from everything but counting without end."""
    try:
        return _compiled(content).render(values).strip()
    except (TemplateError, ArithmeticError, LookupError, TypeError) as error:
        raise ValueError(str(error)) from None


class PromptFile:
    """A list of messages that ends with the user's, or is all the system's; RecipeError names file and mistake."""

    def __init__(self, path: Path, last: Role = "user") -> None:
        self.path = path
        found = read_checked(path, MESSAGES, HINT)
        if not found or found[-1].role != last:
            raise self._error(f"the last message must be the {last}'s")
        if last == "system" and any(message.role != "system" for message in found):
            raise self._error("all messages must be the system's")
        for message in found:
            self._check(message.content)
        self._templates = [(message.role, message.content) for message in found]
        self.names = {
            name for message in found for name in meta.find_undeclared_variables(SANDBOX.parse(message.content))
        }

    def messages(self, values: Mapping[str, object]) -> list[dict[str, str]]:
        """Return the messages with the values filled in; those that come out empty are left out."""
        texts = [(role, self._rendered(template, values)) for role, template in self._templates]
        return [{"role": role, "content": text} for role, text in texts if text]

    def _check(self, content: str) -> None:
        try:
            _compiled(content)
        except (TemplateError, RecursionError) as error:
            raise self._error(str(error)) from None

    def _rendered(self, template: str, values: Mapping[str, object]) -> str:
        try:
            text: str = bounded(_filled_in, template, values)
        except ValueError as error:
            raise self._error(str(error)) from None
        except LimitError as error:
            raise LimitError(f"{self.path}: {error.args[0]}", hint=error.hint) from None
        return text

    def _error(self, reason: str) -> RecipeError:
        return RecipeError(f"{self.path}: {reason}", hint=HINT)

"""Our own SDG Hub blocks. A row that fails is marked in its `error` column and never affects another row.

They know about roles, prompts and fences; what to ask for is in the prompt files beside each flow.
"""

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import Field, PrivateAttr
from sdg_hub import BaseBlock, BlockRegistry

from tuning_room.fences import fenced
from tuning_room.generate.families import Problem, ProblemFamily, drawn_apart, load_families
from tuning_room.generate.prompts import PromptFile
from tuning_room.generate.situations import Situation, dialogue, load_situations
from tuning_room.records import Message
from tuning_room.rendering import with_system

if TYPE_CHECKING:
    from tuning_room.generate.cleaning import Writes
    from tuning_room.generate.teacher import Teacher


@cache
def _families(rules: Path) -> dict[str, ProblemFamily]:
    return {family.name: family for family in load_families(rules / "families")}


@cache
def _situations(rules: Path) -> dict[str, Situation]:
    return {situation.name: situation for situation in load_situations(rules / "situations.yaml")}


class _Block(BaseBlock):
    """A block that fills output columns row by row."""

    def _filled(self, samples: pd.DataFrame, columns: Mapping[str, Sequence[object]]) -> pd.DataFrame:
        out = samples.copy()
        for name, values in columns.items():
            out[name] = pd.Series(values, index=out.index, dtype=object)
        return out

    def _named(self, samples: pd.DataFrame) -> list[dict[str, Any]]:
        """Return the input columns row by row, under the names given by the flow."""
        given = self.input_cols
        names = given if isinstance(given, dict) else {column: column for column in given}
        return [{name: row[column] for column, name in names.items()} for row in samples.to_dict("records")]


@BlockRegistry.register("DrawProblemBlock", "tuning_room", "Draws a problem of a family, with its gold answer")
class DrawProblemBlock(_Block):
    """Draws a problem where the row names a family; a row that already has a problem keeps it."""

    def generate(
        self, samples: pd.DataFrame, rules: str = "", first_reply_share: float = 0.0, **kwargs: Any
    ) -> pd.DataFrame:
        """Fill the column `problem` (JSON) from `family`, `seed` and `number`, or from `given`."""
        families = _families(Path(rules))
        rows = zip(samples["family"], samples["seed"], samples["number"], samples["given"], strict=True)
        problems = [
            given or drawn_apart(families[family], f"problem/{seed}", first_reply_share, number).model_dump_json()
            for family, seed, number, given in rows
        ]
        return self._filled(samples, {"problem": problems})


@BlockRegistry.register("SituationBlock", "tuning_room", "Brings up a problem in a situation")
class SituationBlock(_Block):
    """Turns a problem and a situation's name into the messages of a dialogue."""

    def generate(self, samples: pd.DataFrame, rules: str = "", step_reply: str = "", **kwargs: Any) -> pd.DataFrame:
        """Fill `messages` and `requirements` (JSON), `gold` and `topic`."""
        out: dict[str, list[object]] = {"messages": [], "requirements": [], "gold": [], "topic": [], "error": []}
        for row in samples.to_dict("records"):
            problem = Problem.model_validate_json(row["problem"])
            situation = _situations(Path(rules))[row["situation"]]
            rng = random.Random(f"situation/{row['seed']}")
            made = dialogue(situation, problem, rng, follow_up=bool(row["follow_up"]), step_reply=step_reply)
            out["messages"].append(json.dumps([message.as_dict() for message in made.messages]))
            out["requirements"].append(json.dumps(made.requirements))
            out["gold"].append(problem.answer)
            out["topic"].append(problem.topic)
            out["error"].append("")
        return self._filled(samples, out)


@BlockRegistry.register("TeacherBlock", "tuning_room", "Asks the teacher; an error is recorded in its row")
class TeacherBlock(_Block):
    """Sends chat messages to the teacher and records a reply or an error in each row."""

    extra_tokens: int = Field(0, ge=0, description="tokens of a reply beyond generate.teacher.max_tokens")

    def generate(
        self, samples: pd.DataFrame, teacher: "Teacher | None" = None, writes: "Writes" = "notes", **kwargs: Any
    ) -> pd.DataFrame:
        """Fill the output column with replies; rows that failed before are not sent."""
        from tuning_room.generate.teacher import TeacherStep

        assert teacher is not None
        column, target = self.input_cols[0], self.output_cols[0]
        # As lists: reading a frame value by value takes longer than the teacher's own overhead.
        errors, given, drawn = (list(samples[name]) for name in ("error", column, "seed"))
        open_rows = [i for i, error in enumerate(errors) if not error]
        dialogues, seeds = [_messages(given[i]) for i in open_rows], [int(drawn[i]) for i in open_rows]
        replies = [""] * len(samples)
        step = TeacherStep(self.block_name, writes, self.extra_tokens)
        for i, answer in zip(open_rows, teacher.answers(dialogues, seeds, step), strict=True):
            replies[i], errors[i] = answer.text, answer.error
        return self._filled(samples, {target: replies, "error": errors})


@BlockRegistry.register("FenceBlock", "tuning_room", "Puts texts between tags that they cannot close")
class FenceBlock(_Block):
    """Fences each input column under the name that `input_cols` gives it."""

    def generate(self, samples: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        """Fill one output column per input column; an empty text stays empty."""
        rows = self._named(samples)
        names = list(rows[0])
        pairs = zip(names, self.output_cols, strict=True)
        return self._filled(samples, {out: [fenced(row[name], name) for row in rows] for name, out in pairs})


@BlockRegistry.register("ChatPromptBlock", "tuning_room", "Writes chat messages from a prompt file")
class ChatPromptBlock(_Block):
    """Fills a prompt file's templates with a row's columns.

    Unlike SDG Hub's own PromptBuilderBlock it evaluates templates in a sandbox, and a value that a template lacks is an
    error, not a message that is silently left out.
    """

    prompt_config_path: str = Field(description="YAML list of messages, each with role and content")
    _prompt: PromptFile = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Read the prompt file at once, so that a mistake in it is found before anything is paid for."""
        self._prompt = PromptFile(Path(self.prompt_config_path))

    def generate(self, samples: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        """Fill the output column with messages; one whose text comes out empty is left out."""
        return self._filled(
            samples, {self.output_cols[0]: [self._prompt.messages(row) for row in self._named(samples)]}
        )


@BlockRegistry.register("SystemPromptBlock", "tuning_room", "Writes a system prompt from a prompt file")
class SystemPromptBlock(_Block):
    """Fills a prompt file's templates, all of them the system's, with a row's columns, and joins them to one text."""

    prompt_config_path: str = Field(description="YAML list of messages with the role system, and content")
    _prompt: PromptFile = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Read the prompt file at once, so that a mistake in it is found before anything is paid for."""
        self._prompt = PromptFile(Path(self.prompt_config_path), last="system")

    def generate(self, samples: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        """Fill the output column with texts; rows with the same values share one, as prompts are long and rows many."""
        texts: dict[tuple[Any, ...], str] = {}
        column = []
        for row in self._named(samples):
            key = tuple(row.values())
            if key not in texts:
                texts[key] = "\n\n".join(message["content"] for message in self._prompt.messages(row))
            column.append(texts[key])
        return self._filled(samples, {self.output_cols[0]: column})


@BlockRegistry.register("SystemTurnBlock", "tuning_room", "Puts a system turn before a dialogue")
class SystemTurnBlock(_Block):
    """Joins a system prompt from one column and a dialogue's messages from another, in this order."""

    def generate(self, samples: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        """Fill the output column with messages."""
        system, turns = self.input_cols
        rows = zip(samples[system], samples[turns], strict=True)
        joined = [[m.as_dict() for m in with_system(prompt, _messages(messages))] for prompt, messages in rows]
        return self._filled(samples, {self.output_cols[0]: joined})


@BlockRegistry.register("TranscriptBlock", "tuning_room", "Writes a dialogue as one text")
class TranscriptBlock(_Block):
    """Writes a dialogue's messages as one text, each behind its speaker's name."""

    def generate(self, samples: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        """Fill the output column with one text per row."""
        dialogues = [_messages(value) for value in samples[self.input_cols[0]]]
        texts = ["\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in messages) for messages in dialogues]
        return self._filled(samples, {self.output_cols[0]: texts})


@BlockRegistry.register("ScoreBlock", "tuning_room", "Reads a score from a judgement")
class ScoreBlock(_Block):
    """Reads the last number that `pattern` finds; without one, or with one above `highest`, there is no score."""

    pattern: str = Field(r"(?i)score\W{0,6}(\d{1,3}(?:\.\d{1,3})?)", description="its first group is the number")
    highest: float = Field(10, description="the best score")

    def generate(self, samples: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        """Fill the output column with numbers, None where there is no score."""
        return self._filled(samples, {self.output_cols[0]: [self._score(text) for text in samples[self.input_cols[0]]]})

    def _score(self, text: str) -> float | None:
        found = re.findall(self.pattern, text)
        return float(found[-1]) if found and float(found[-1]) <= self.highest else None


def _messages(value: Iterable[Mapping[str, Any]]) -> list[Message]:
    return [Message(role=turn["role"], content=turn["content"]) for turn in value]

"""SDG Hub blocks of our own. A row that fails is marked in its `error` column and never costs another row."""

import json
import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sdg_hub import BaseBlock, BlockRegistry

from tuning_room.generate.families import Problem, draw, load_families
from tuning_room.generate.situations import Situation, dialogue, load_situations
from tuning_room.records import Message

if TYPE_CHECKING:
    from tuning_room.generate.teacher import Teacher


@cache
def _families(rules: Path) -> dict[str, Any]:
    return {family.name: family for family in load_families(rules / "families")}


@cache
def _situations(rules: Path) -> dict[str, Situation]:
    return {situation.name: situation for situation in load_situations(rules / "situations.yaml")}


class _Block(BaseBlock):
    """A block that fills output columns row by row."""

    def _filled(self, samples: pd.DataFrame, columns: dict[str, list[Any]]) -> pd.DataFrame:
        out = samples.copy()
        for name, values in columns.items():
            out[name] = pd.Series(values, index=out.index, dtype=object)
        return out


@BlockRegistry.register("DrawProblemBlock", "tuning_room", "Draws a problem of a family, with its gold answer")
class DrawProblemBlock(_Block):
    """Draws a problem where the row names a family; a row that has its problem already keeps it."""

    def generate(
        self, samples: pd.DataFrame, rules: str = "", first_reply_share: float = 0.0, **kwargs: Any
    ) -> pd.DataFrame:
        """Fill the column `problem` (JSON) from `family` and `seed`, or from `given`."""
        families = _families(Path(rules))
        rows = zip(samples["family"], samples["seed"], samples["given"], strict=True)
        problems = [
            given or draw(families[family], random.Random(f"problem/{seed}"), first_reply_share).model_dump_json()
            for family, seed, given in rows
        ]
        return self._filled(samples, {"problem": problems})


@BlockRegistry.register("SituationBlock", "tuning_room", "Has a problem brought up in a situation")
class SituationBlock(_Block):
    """Turns a problem and a situation's name into the messages of a dialogue."""

    def generate(self, samples: pd.DataFrame, rules: str = "", **kwargs: Any) -> pd.DataFrame:
        """Fill `messages` (JSON), `gold` and `topic`."""
        out: dict[str, list[Any]] = {"messages": [], "gold": [], "topic": [], "error": []}
        for row in samples.to_dict("records"):
            problem = Problem.model_validate_json(row["problem"])
            situation = _situations(Path(rules))[row["situation"]]
            rng = random.Random(f"situation/{row['seed']}")
            messages = dialogue(situation, problem, rng, follow_up=bool(row["follow_up"]))
            out["messages"].append(json.dumps([message.as_dict() for message in messages]))
            out["gold"].append(problem.answer)
            out["topic"].append(problem.topic)
            out["error"].append("")
        return self._filled(samples, out)


@BlockRegistry.register("TeacherBlock", "tuning_room", "Asks the teacher; an error is recorded in its row")
class TeacherBlock(_Block):
    """Sends chat messages to the teacher and records reply or error, a row at a time."""

    def generate(self, samples: pd.DataFrame, teacher: Any = None, **kwargs: Any) -> pd.DataFrame:
        """Fill the output column with replies; rows that failed before are not sent."""
        asker: Teacher = teacher
        column, target = self.input_cols[0], self.output_cols[0]
        errors = list(samples["error"])
        open_rows = [i for i, error in enumerate(errors) if not error]
        dialogues = [_messages(samples[column].iloc[i]) for i in open_rows]
        replies = [""] * len(samples)
        seeds = [int(samples["seed"].iloc[i]) for i in open_rows]
        for i, answer in zip(open_rows, asker.answers(dialogues, seeds, self.block_name), strict=True):
            replies[i], errors[i] = answer.text, answer.error
        return self._filled(samples, {target: replies, "error": errors})


@BlockRegistry.register("DialogueBlock", "tuning_room", "Joins a question and a reply")
class DialogueBlock(_Block):
    """Joins the columns `question` and `reply` into the messages of a dialogue."""

    def generate(self, samples: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        """Fill `messages` (JSON); a row with an error has none."""
        rows = zip(samples["question"], samples["reply"], samples["error"], strict=True)
        joined = ["[]" if error else _joined(question, reply) for question, reply, error in rows]
        return self._filled(samples, {"messages": joined})


def _joined(question: str, reply: str) -> str:
    return json.dumps([{"role": "user", "content": question}, {"role": "assistant", "content": reply}])


def _messages(value: Any) -> list[Message]:
    return [Message(role=turn["role"], content=turn["content"]) for turn in value]

"""The judge's questions about requirements: does a reply keep one? Answered with yes or no, reply by reply."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tuning_room.errors import EngineError
from tuning_room.evaluate.config import Judge
from tuning_room.evaluate.judge import FIRST, MATERIAL, SECOND, SILENCE, Asking, dialogue
from tuning_room.evaluate.pairing import in_order
from tuning_room.fences import fenced
from tuning_room.progress import ProgressBar
from tuning_room.records import Item, Message, Record, write_jsonl
from tuning_room.requirements import Requirement
from tuning_room.results import Sample

ANSWER = (
    "You answer a question about the last reply of an assistant with yes or no. Only the question counts: not whether "
    f"the reply is good otherwise, and not how long it is. {MATERIAL} Say in one or two sentences what decides. Then "
    "write as a last line, with nothing else in that line, [[YES]] or [[NO]]."
)


class Answer(Record):
    """The judge's answer on a reply: whether it keeps the requirement, or the error instead."""

    requirement: str
    arm: str
    suite: str
    item: str
    turn: int
    kept: bool | None = None
    error: str = ""


def ask(
    requirements: Sequence[Requirement],
    judge: Judge,
    samples: Sequence[Sample],
    items: Mapping[str, Sequence[Item]],
    folder: Path,
) -> list[Answer]:
    """Ask about each reply of the two arms to an item that tests a requirement with a question.

    The answers are kept in the folder, so that nothing is asked twice. Raises EngineError if the judge answers nothing
    at all; a failure on one reply is recorded as that reply's error.
    """
    asked = list(_asked(requirements, samples, items))
    asking = Asking(judge, folder / "answers.jsonl")
    with ProgressBar("requirements", len(asked)) as bar:
        answers = asking.ask([_question(one, talk) for one, talk in asked], bar.advance)
    found = [_answer(one, talk[-1], answer) for (one, talk), answer in zip(asked, answers, strict=True)]
    write_jsonl(folder / "requirements.jsonl", found)
    return found


def as_samples(samples: Sequence[Sample], answers: Sequence[Answer]) -> list[Sample]:
    """Return the replies that the judge was asked about, with its answers by requirement as their metrics."""
    known: dict[tuple[str, str, str, int], dict[str, float]] = {}
    for one in answers:
        if one.kept is not None:
            known.setdefault((one.arm, one.suite, one.item, one.turn), {})[one.requirement] = float(one.kept)
    places = [(sample.arm, sample.suite, sample.item, sample.turn) for sample in samples]
    return [
        sample.model_copy(update={"metrics": known[place]})
        for sample, place in zip(samples, places, strict=True)
        if place in known
    ]


def _asked(
    requirements: Sequence[Requirement], samples: Sequence[Sample], items: Mapping[str, Sequence[Item]]
) -> Iterator[tuple[Requirement, list[Sample]]]:
    """Yield each question with the dialogue up to the reply that it is about."""
    talks: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in in_order(samples):
        if not sample.is_weighed:
            talks.setdefault((sample.arm, sample.suite, sample.item), []).append(sample)
    for one in requirements:
        for suite, rows in items.items() if one.judge else ():
            for item in rows:
                for arm in (FIRST, SECOND) if one.id in item.requirements else ():
                    talk = talks.get((arm, suite, item.id), [])
                    yield from ((one, talk[: turn + 1]) for turn in range(len(talk)))


def _question(one: Requirement, talk: Sequence[Sample]) -> list[Message]:
    *earlier, last = talk
    lines = [f"{turn.role.capitalize()}: {turn.content}" for turn in last.before]
    for row in earlier:
        lines += [f"User: {row.prompt}", f"Assistant: {row.reply or SILENCE}"]
    parts = {
        "question": one.judge,
        "conversation": "\n\n".join([*lines, f"User: {last.prompt}"]),
        "reply": last.reply or SILENCE,
    }
    return dialogue(ANSWER, "\n\n".join(fenced(text, name) for name, text in parts.items()))


def _answer(one: Requirement, reply: Sample, answer: str | EngineError) -> Answer:
    place = {"requirement": one.id, "arm": reply.arm, "suite": reply.suite, "item": reply.item, "turn": reply.turn}
    if isinstance(answer, EngineError):
        return Answer.model_validate({**place, "error": str(answer)})
    decisions = set(re.findall(r"\[\[(YES|NO)\]\]", answer.strip().rpartition("\n")[2]))
    if len(decisions) != 1:
        return Answer.model_validate({**place, "error": "the judge's answer does not end with [[YES]] or [[NO]]"})
    return Answer.model_validate({**place, "kept": decisions == {"YES"}})

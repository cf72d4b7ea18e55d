"""Where candidates come from: a file of example dialogues, and the flows, by a recipe's rules or by its teacher."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.checks import validate
from tuning_room.errors import EngineError, RecipeError
from tuning_room.generate.config import GenerateConfig, TeacherConfig
from tuning_room.generate.examples import example_candidates
from tuning_room.generate.families import Problem, ProblemFamily, load_families
from tuning_room.generate.flow_runner import FlowRow, Flows
from tuning_room.generate.notes import load_rules, problems, unmatched
from tuning_room.generate.rule_files import LookUp
from tuning_room.generate.situations import Situation, fitting, load_situations
from tuning_room.generate.standards import Standards, is_made_up
from tuning_room.records import Candidate, Chunk, Message, Rejection, read_jsonl
from tuning_room.requirements import Requirement, RowsTaught, check_ids, read_requirements
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from tuning_room.generate.teacher import Teacher

MOST_REASONS = 20  # kinds of failure that are counted; a server may give a reason of its own for every row
ROUNDS = 4  # of concurrent requests in a portion of rows: enough that waiting for the last reply costs little


class Sections(NamedTuple):
    """The number of the documents' sections, and of those that gave rows; `problem` says why none did."""

    total: int = 0
    used: int = 0
    problem: str = ""


class Made(NamedTuple):
    """What the flows made: the candidates, the replies that were not kept, and the judge's rubric, '' without one.

    `sections` says what the rules made of the documents; a teacher is asked about every section.
    """

    candidates: list[Candidate]
    losers: list[Rejection] = []
    rubric: str = ""
    sections: Sections = Sections()


def flow_candidates(
    config: GenerateConfig, workspace: Workspace, teacher: "Teacher | None", *, checking: bool = True
) -> Made:
    """Return what the flows make with a teacher or, without one, what the rules make. Nothing is written.

    Without `checking` every reply passes: one that fails a check is not judged, and ends its dialogue.
    """
    chunks = list(read_jsonl(workspace.chunks, Chunk))
    known = read_requirements(config.requirements) if config.requirements else []
    if teacher is None:
        return _from_rules(config, chunks, known)
    for checks in (config.checks, *(one.checks for one in known)):
        validate(checks)
    return _from_teacher(config, chunks, teacher, Standards(config, known, checking=checking), known)


def _from_rules(config: GenerateConfig, chunks: list[Chunk], known: Sequence[Requirement]) -> Made:
    if config.rules is None and config.seeds:
        why = "the recipe has no folder of rules, and the example dialogues are all there is" if chunks else ""
        return Made([], sections=Sections(len(chunks), problem=why))
    if config.rules is None:
        raise RecipeError(
            "generate.rules: the teacher 'rules' needs a folder of rules, or example dialogues",
            hint="name it in the recipe, or a file of dialogues as 'seeds'",
        )
    return _by_rules(config, config.rules, chunks, lambda ids, where: check_ids(ids, known, where))


def _by_rules(config: GenerateConfig, rules: Path, chunks: list[Chunk], look_up: LookUp) -> Made:
    situations = load_situations(rules / "situations.yaml", look_up)
    families = _chosen(load_families(rules / "families", look_up), config.families)
    notes, sections = _note_rows(config, rules / "notes.yaml", chunks, situations, look_up)
    given = {"rules": str(rules)}
    drawing = {**given, "first_reply_share": config.first_reply_share}
    bringing_up = {**given, "step_reply": config.step_reply}
    rows = [*_family_rows(config, families, situations), *notes]
    candidates = _candidates(Flows().run("rules", rows, {"draw_problem": drawing, "bring_up": bringing_up}))
    return Made(candidates, sections=sections)


def _family_rows(config: GenerateConfig, families: list[ProblemFamily], situations: list[Situation]) -> list[FlowRow]:
    rng = random.Random(f"families/{config.seed}")
    rows, made = [], Counter[str]()
    # In turn rather than at random, so that every family gets its share however few the rows.
    weighed = [family for family in families for _ in range(family.weight)]
    for number, family in enumerate(islice(cycle(weighed), config.rows)):
        situation = _drawn([s for s in situations if fitting(s, family)], rng, f"family '{family.name}'")
        share = config.follow_up_share if situation.follow_up_share is None else situation.follow_up_share
        follows = rng.random() < share
        row = _row(f"family-{number:05d}", f"family:{family.name}", situation.name, rng, follows, family.name)
        rows.append({**row, "number": made[family.name]})
        made[family.name] += 1
    return rows


def _chosen(families: list[ProblemFamily], names: list[str]) -> list[ProblemFamily]:
    known = {family.name for family in families}
    if unknown := [name for name in names if name not in known]:
        raise RecipeError(f"generate.families: there is no family '{unknown[0]}'", hint=f"known: {', '.join(known)}")
    return [family for family in families if not names or family.name in names]


def _note_rows(
    config: GenerateConfig, file: Path, chunks: list[Chunk], situations: list[Situation], look_up: LookUp
) -> tuple[list[FlowRow], Sections]:
    if not file.exists():
        why = f"there is no {file}, which says what a problem looks like" if chunks else ""
        return [], Sections(len(chunks), problem=why)
    how = load_rules(file, look_up)
    found = problems(chunks, how)
    rows = list(_rows_about(found, config, situations))
    why = "" if found or not chunks else unmatched(chunks, how, file)
    return rows, Sections(len(chunks), len({row["group"] for row in rows}), why)


def _rows_about(
    found: list[tuple[Chunk, list[Problem]]], config: GenerateConfig, situations: list[Situation]
) -> Iterator[FlowRow]:
    rng = random.Random(f"notes/{config.seed}")
    for chunk, of_chunk in found:
        for number, problem in enumerate(of_chunk[: config.notes_per_problem]):
            # A note is one reply: situations that speak of an answer, or go on, have replies of their own.
            usable = [s for s in situations if fitting(s, problem) and s.leads_on and not s.turns]
            situation = _drawn(usable, rng, f"note of {chunk.id}")
            row = _row(f"note-{chunk.id}-{number}", f"document:{chunk.id}", situation.name, rng)
            yield {**row, "group": chunk.id, "given": problem.model_dump_json()}


def _drawn(usable: list[Situation], rng: random.Random, owner: str) -> Situation:
    if not usable:
        raise RecipeError(f"{owner}: no situation suits it", hint="add one without {wrong} that uses {assistant}")
    return rng.choices(usable, [situation.weight for situation in usable])[0]


def _row(
    name: str, source: str, situation: str, rng: random.Random, follow_up: bool = False, family: str = ""
) -> FlowRow:
    return {
        "id": name,
        "source": source,
        "group": "",
        "family": family,
        "given": "",
        "number": 0,
        "situation": situation,
        "follow_up": follow_up,
        "seed": rng.randrange(2**31),
    }


def _from_teacher(
    config: GenerateConfig, chunks: list[Chunk], teacher: "Teacher", standards: Standards, known: Sequence[Requirement]
) -> Made:
    from tuning_room.generate.columns import load_columns
    from tuning_room.generate.dialogues import Writer
    from tuning_room.generate.queries import query_rows

    columns = load_columns(config.columns)
    examples = example_candidates(config.seeds, known, skip=config.on_error == "skip")
    taught = RowsTaught(example.requirements for example in examples)
    rows = query_rows(config, chunks, columns, known, taught)
    writer = Writer(config, Flows(config.flows, teacher), columns, standards)
    candidates = [made for part in _portions(rows, config.teacher) for made in writer.dialogues(part)]
    if candidates and all(candidate.error for candidate in candidates):
        why = Counter(candidate.error for candidate in candidates).most_common(1)[0][0]
        hint = "set generate.grounded to false" if is_made_up(why) else "check generate.teacher in the recipe"
        raise EngineError(f"the teacher answered none of {len(candidates)} rows ({why})", hint=hint)
    return Made(candidates, writer.losers, writer.rubric)


def failures(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Return how many rows failed for each reason, the most frequent first; what to do about it is no part of it."""
    reasons = (candidate.error.partition(": raise ")[0] for candidate in candidates if candidate.error)
    return dict(Counter(reasons).most_common(MOST_REASONS))


def _portions(rows: list[FlowRow], teacher: TeacherConfig) -> Iterator[list[FlowRow]]:
    """Yield all rows at once or, under a budget, a few at a time.

    A flow takes all its rows through one step before the next. Under a budget it would pay for every question and have
    nothing left for the answers.
    """
    size = teacher.concurrency * ROUNDS if teacher.has_budget else max(len(rows), 1)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _candidates(rows: list[FlowRow]) -> list[Candidate]:
    return [
        Candidate(
            id=row["id"],
            source=row["source"],
            group=row["group"] or _problem_group(row),
            topic=row["topic"],
            situation=row["situation"],
            gold=row["gold"] or None,
            messages=[Message(**turn) for turn in json.loads(row["messages"])],
            error=row["error"],
            requirements=json.loads(row.get("requirements", "[]")),
        )
        for row in rows
    ]


def _problem_group(row: FlowRow) -> str:
    problem = Problem.model_validate_json(row["problem"])
    return f"{problem.family}: {problem.problem}"

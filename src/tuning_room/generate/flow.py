"""From a recipe's rules and chunks to rows, through the SDG Hub flow, to candidates."""

import json
import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.errors import EngineError, RecipeError, StageError, TuningRoomError
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.families import Family, Problem, load_families
from tuning_room.generate.notes import load_rules, problems
from tuning_room.generate.portions import portions
from tuning_room.generate.situations import Situation, fitting, load_situations
from tuning_room.records import Candidate, Chunk, Message, read_jsonl
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from tuning_room.generate.teacher import Teacher

FLOWS = Path(__file__).parent / "flows"
Row = dict[str, Any]


def flow_candidates(config: GenerateConfig, workspace: Workspace, teacher: "Teacher | None") -> list[Candidate]:
    """Return the candidates of the flow that the recipe's teacher asks for; without one, of the rules."""
    chunks = list(read_jsonl(workspace.chunks, Chunk))
    return _from_teacher(config, chunks, teacher) if teacher else _from_rules(config, chunks)


def _from_rules(config: GenerateConfig, chunks: list[Chunk]) -> list[Candidate]:
    if config.rules is None:
        raise RecipeError("generate.rules: the teacher 'rules' needs a folder of rules", hint="name it in the recipe")
    rows = [*_family_rows(config, config.rules), *_note_rows(config, config.rules, chunks)]
    given = {"rules": str(config.rules)}
    drawing = {**given, "first_reply_share": config.first_reply_share}
    return _candidates(_generated("rules", rows, {"draw_problem": drawing, "bring_up": given}))


def _family_rows(config: GenerateConfig, rules: Path) -> list[Row]:
    rng = random.Random(f"families/{config.seed}")
    families = _chosen(load_families(rules / "families"), config.families)
    situations = load_situations(rules / "situations.yaml")
    rows = []
    # In turn rather than at random: every family gets its share however few rows there are.
    for number, family in enumerate(islice(cycle(families), config.rows)):
        situation = _drawn([s for s in situations if fitting(s, family)], rng, f"family '{family.name}'")
        follows = rng.random() < config.follow_up_share
        rows.append(_row(f"family-{number:05d}", f"family:{family.name}", situation.name, rng, follows, family.name))
    return rows


def _chosen(families: list[Family], names: list[str]) -> list[Family]:
    known = {family.name for family in families}
    if unknown := [name for name in names if name not in known]:
        raise RecipeError(f"generate.families: there is no family '{unknown[0]}'", hint=f"known: {', '.join(known)}")
    return [family for family in families if not names or family.name in names]


def _note_rows(config: GenerateConfig, rules: Path, chunks: list[Chunk]) -> list[Row]:
    rng = random.Random(f"notes/{config.seed}")
    situations = load_situations(rules / "situations.yaml")
    rows = []
    for chunk, found in problems(chunks, load_rules(rules / "notes.yaml")):
        for number, problem in enumerate(found[: config.notes_per_problem]):
            # A note is one reply to the problem: situations that speak of an answer have replies of their own.
            usable = [s for s in situations if fitting(s, problem) and "{assistant}" in "".join(s.assistant)]
            situation = _drawn(usable, rng, f"note of {chunk.id}")
            row = _row(f"note-{chunk.id}-{number}", f"document:{chunk.id}", situation.name, rng)
            rows.append({**row, "group": chunk.id, "given": problem.model_dump_json()})
    return rows


def _drawn(usable: list[Situation], rng: random.Random, owner: str) -> Situation:
    if not usable:
        raise RecipeError(f"{owner}: no situation suits it", hint="add one without {wrong} that uses {assistant}")
    return rng.choices(usable, [situation.weight for situation in usable])[0]


def _row(name: str, source: str, situation: str, rng: random.Random, follow_up: bool = False, family: str = "") -> Row:
    return {
        "id": name,
        "source": source,
        "group": "",
        "family": family,
        "given": "",
        "situation": situation,
        "follow_up": follow_up,
        "seed": rng.randrange(2**31),
    }


def _from_teacher(config: GenerateConfig, chunks: list[Chunk], teacher: "Teacher") -> list[Candidate]:
    given = {"teacher": teacher}
    steps = {"write_question": given, "answer_question": given}
    parts = portions(_passage_rows(config, chunks), config.teacher)
    rows = [row for part in parts for row in _generated("endpoint", part, steps)]
    candidates = _candidates(rows)
    if candidates and all(candidate.error for candidate in candidates):
        raise EngineError(
            f"the teacher answered none of {len(candidates)} rows ({candidates[0].error})",
            hint="check generate.teacher in the recipe",
        )
    return candidates


def _passage_rows(config: GenerateConfig, chunks: list[Chunk]) -> list[Row]:
    full_prompt = config.full_prompt.read_text(encoding="utf-8").strip()
    return [
        {
            "id": f"{chunk.id}-{copy}",
            "source": f"document:{chunk.id}",
            "group": chunk.id,
            "topic": chunk.headings[0] if chunk.headings else "",
            "situation": "",
            "passage": "\n".join([*chunk.headings, chunk.text]),
            "full_prompt": full_prompt,
            "gold": None,
            "error": "",
            "seed": config.seed + copy,
        }
        for chunk in chunks
        for copy in range(config.rows_per_chunk)
    ]


def _generated(flow: str, rows: list[Row], parameters: dict[str, Row]) -> list[Row]:
    """Run rows through a flow of ours; the row order and the count are kept."""
    if not rows:
        return []
    # Without this, importing SDG Hub asks the network for a list of prices.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import pandas as pd
    from sdg_hub import Flow

    # Importing them registers them under the names that the flows use.
    import_module("tuning_room.generate.blocks")
    try:
        with _silent():
            runner = Flow.from_yaml(str(FLOWS / flow / "flow.yaml"))
            made = runner.generate(pd.DataFrame(rows), runtime_params=parameters)
    except Exception as error:
        raise _own(error) from error
    return list(made.to_dict("records"))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the flow's tables off stdout, which belongs to our own output, and its log to warnings."""
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _own(error: BaseException) -> TuningRoomError:
    """Return the error of ours that SDG Hub wrapped, or one that says what SDG Hub said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TuningRoomError):
            return cause
        cause = cause.__cause__
    return StageError(f"the generation flow failed: {error}")


def _candidates(rows: list[Row]) -> list[Candidate]:
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
        )
        for row in rows
    ]


def _problem_group(row: Row) -> str:
    problem = Problem.model_validate_json(row["problem"])
    return f"{problem.family}: {problem.problem}"

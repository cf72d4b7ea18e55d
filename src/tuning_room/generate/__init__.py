"""Generate: candidate dialogues from documents, rules, example dialogues and a teacher, through SDG Hub flows."""

from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.generate.config import GenerateConfig
from tuning_room.workspace import Stage, StageResult, Workspace

if TYPE_CHECKING:
    from tuning_room.generate.candidates import Made
    from tuning_room.generate.examples import Examples

HINT = "rules find numbered problems alone, a teacher writes about any text (docs/generate.md)"


class GenerateResult(StageResult):
    """The number of candidates, by source, and of failed rows, and what the teacher used in this run folder.

    `stopped` says which limit of the budget was reached, '' if none. `cleaned` counts the replies that were cleaned, by
    what was removed; `cut_off` those that ended at `max_tokens`, and so failed; `failures` the failed rows, by reason.
    `reasoning_tokens` says by how much replies may be longer for the reasoning that was seen, 0 if there was none.
    `unknown_tags` counts the replies that begin with a pair of tags that is not known as reasoning, and was left in, by
    the tag's name. `sections` counts the documents' sections that the rules went through, `sections_used` those that
    gave rows. `mended` counts the rows of seeds that could be used after a change, by what that was, `skipped` those
    that were left out, by reason.
    """

    candidates: int
    sources: dict[str, int]
    errors: int
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    stopped: str = ""
    cleaned: dict[str, int] = {}
    cut_off: int = 0
    failures: dict[str, int] = {}
    reasoning_tokens: int = 0
    unknown_tags: dict[str, int] = {}
    sections: int = 0
    sections_used: int = 0
    mended: dict[str, int] = {}
    skipped: dict[str, int] = {}
    warnings: list[str] = []


def inputs(config: GenerateConfig, workspace: Workspace) -> list[Path]:
    """Return what generation reads."""
    from tuning_room.checks import files
    from tuning_room.requirements import read_requirements

    asked = read_requirements(config.requirements) if config.requirements else []
    own = [config.seeds, config.rules, config.columns, config.flows, config.requirements]
    named = [workspace.chunks, config.full_prompt, *(path for path in own if path is not None)]
    return [*named, *files(config.checks), *(file for one in asked for file in files(one.checks))]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what generation writes."""
    return [workspace.candidates]


def run(config: GenerateConfig, workspace: Workspace) -> GenerateResult:
    """Write `candidates.jsonl`: the flows' rows and all example dialogues, with their sources; and what was rejected.

    A row that a teacher could not answer is kept with its error. Raises RecipeError, DataError, EngineError.
    """
    from collections import Counter

    from tuning_room.files import atomic_writer
    from tuning_room.generate.candidates import failures, flow_candidates
    from tuning_room.generate.examples import read_examples
    from tuning_room.generate.teacher import ANSWERS, Teacher
    from tuning_room.records import write_jsonl
    from tuning_room.requirements import read_requirements

    known = read_requirements(config.requirements) if config.requirements else []
    examples = read_examples(config.seeds, known, skip=config.on_error == "skip")
    answers = workspace.generation / ANSWERS
    asks = config.teacher.kind != "rules"
    teacher = Teacher(config.teacher, answers, wants_json=config.wants_json) if asks else None
    made = flow_candidates(config, workspace, teacher)
    candidates = [*examples.candidates, *made.candidates]
    if teacher:
        write_jsonl(workspace.losers, made.losers)
    if made.rubric:
        with atomic_writer(workspace.generation / "rubric.md") as out:
            out.write(made.rubric + "\n")
    write_jsonl(workspace.candidates, candidates)
    return GenerateResult(
        candidates=len(candidates),
        sources=dict(Counter(c.source.split(":")[0] for c in candidates)),
        errors=sum(1 for c in candidates if c.error),
        failures=failures(candidates),
        sections=made.sections.total,
        sections_used=made.sections.used,
        mended=examples.mended,
        skipped=examples.skipped,
        warnings=[*_notes(examples), *_warnings(made, config, workspace)],
        **(teacher.summary() if teacher else {}),
    )


def _notes(examples: "Examples") -> list[str]:
    found = (("mended", examples.mended), ("left out", examples.skipped))
    return [f"rows of seeds {what}: {count} ({why})" for what, kinds in found for why, count in kinds.items()]


def _warnings(made: "Made", config: GenerateConfig, workspace: Workspace) -> list[str]:
    from tuning_room.generate.standards import is_made_up

    warnings = [f"the documents gave no row: {made.sections.problem}; {HINT}"] if made.sections.problem else []
    if config.grounded and config.teacher.kind == "rules":
        warnings.append("generate.grounded has no effect: the rules ask no teacher")
    if count := sum(is_made_up(candidate.error) for candidate in made.candidates):
        of = f"{count} of {len(made.candidates)}"
        warnings.append(f"rows not grounded, and left out: {of}; {workspace.losers} says what stands in no source")
    return warnings


STAGE = Stage("generate", GenerateResult, inputs, outputs, run)

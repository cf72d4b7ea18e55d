"""Evaluate: the arms on held-out items, through lm-evaluation-harness, with paired statistics and a verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuning_room.evaluate.config import BUILTIN, EvaluateConfig
from tuning_room.workspace import Stage, StageResult, Workspace

if TYPE_CHECKING:
    from tuning_room.evaluate.runner import Runner
    from tuning_room.results import Sample

__all__ = ["BUILTIN", "STAGE", "EvaluateConfig", "EvaluateResult", "run"]


class EvaluateResult(StageResult):
    """The verdict, the rate of each metric by arm over all items, each requirement's state, and what was lost.

    `path` says why a model in this process was not computed by the fast decoder, '' if it was, or if none was loaded.
    """

    verdict: str
    rates: dict[str, dict[str, float]]
    failed_gates: list[str]
    requirements: dict[str, str] = {}
    lost: str = "not_shown"
    path: str = ""


def inputs(config: EvaluateConfig, workspace: Workspace) -> list[Path]:
    """Return what the stage reads, and the code that computes its numbers: both decide what comes of it."""
    from tuning_room.checks import CHECK, METRICS, code, files
    from tuning_room.checks.plugins import source_files

    rubric = config.judge.rubric if config.judge else None
    optional = [config.neutral, rubric, config.standard.include if config.standard else None]
    items = [*(suite.items for suite in config.suites.values()), *filter(None, optional)]
    requirements = config.read_requirements()
    named = {metric for suite in config.suites for metric in config.metrics_of(suite)}
    named |= {metric for one in requirements for metric in one.metrics}
    offered = sorted(name for name in named - METRICS.keys() if not name.startswith(CHECK))
    ours = [code(), Path(__file__).parent, *files(config.checks), *source_files("metric", offered)]
    # The rows too, which are counted by requirement; and what they share of the prompt is no secret.
    rows = [workspace.train_rows] if config.requirements or "extracts" in named else []
    asked = [*filter(None, [config.requirements]), *rows]
    asked += [file for one in requirements for file in files(one.checks)]
    adapter = [workspace.adapter] if config.needs_adapter else []
    return [*adapter, config.full_prompt, *items, *ours, *asked]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what the stage writes."""
    return [workspace.results, workspace.samples]


def kept(workspace: Workspace) -> list[Path]:
    """Return what was asked and measured before; what a judge was paid for is not among it."""
    return [workspace.replies, workspace.divergence, workspace.timing, workspace.standard]


def run(config: EvaluateConfig, workspace: Workspace) -> EvaluateResult:
    """Write `evaluation/results.json` and a file of samples for each arm and suite.

    Raises MissingInputError, DataError, ModelNotFoundError, AdapterMismatchError, EngineError if an arm's server fails,
    and RecipeError for a gate on something that was not measured.
    """
    from tuning_room.evaluate.learnt import decided_by, found_of, rows_taught
    from tuning_room.evaluate.runner import Runner
    from tuning_room.evaluate.summary import summarize
    from tuning_room.results import ALL, write_results

    runner = Runner(config, workspace)
    samples, besides = runner.samples(), runner.besides()
    answers = _answers(config, runner, samples, workspace)
    found = None
    if config.requirements:
        samples = decided_by(answers or [], runner.requirements, samples)
        runner.write(samples)
        rows = rows_taught(runner.requirements, workspace.train_rows)
        margin = config.margin
        found = found_of(runner.requirements, samples, runner.items, rows, margin=margin, judged=answers)
    identities = runner.identities(besides)
    results = summarize(config, samples, identities, runner.sizes, besides, requirements=found, unused=runner.unused())
    if config.judge:
        from tuning_room.evaluate.judge import judged

        judge = judged(config, config.judge, samples, runner.items, workspace.judge)
        results = results.model_copy(update={"judge": judge})
    write_results(workspace.results, results)
    return EvaluateResult(
        verdict=results.verdict.verdict,
        rates={arm: {name: rate.rate for name, rate in suites[ALL].items()} for arm, suites in results.rates.items()},
        failed_gates=[held.gate.name for held in results.verdict.gates if not held.passed],
        requirements={one.id: one.state for one in results.requirements or []},
        lost=results.verdict.lost,
        path=runner.path,
    )


def _answers(
    config: EvaluateConfig, runner: "Runner", samples: "Sequence[Sample]", workspace: Workspace
) -> "list[Sample] | None":
    """Return replies with a judge's answers about the requirements as their metrics; None without a judge."""
    if config.judge is None:
        return None
    from tuning_room.evaluate.questions import as_samples, ask

    asked = [one for one in runner.requirements if one.judge]
    answers = ask(asked, config.judge, samples, runner.items, workspace.judge) if asked else []
    return as_samples(samples, answers)


STAGE = Stage("evaluate", EvaluateResult, inputs, outputs, run, kept)

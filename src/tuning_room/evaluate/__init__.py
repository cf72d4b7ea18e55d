"""Evaluate: the arms on held-out items, through lm-evaluation-harness, with paired statistics and a verdict."""

from pathlib import Path

from tuning_room.evaluate.config import BUILTIN, EvaluateConfig
from tuning_room.workspace import Stage, StageResult, Workspace

__all__ = ["BUILTIN", "STAGE", "EvaluateConfig", "EvaluateResult", "run"]


class EvaluateResult(StageResult):
    """The verdict, and the rate of each metric by arm over all items."""

    verdict: str
    rates: dict[str, dict[str, float]]
    failed_gates: list[str]


def inputs(config: EvaluateConfig, workspace: Workspace) -> list[Path]:
    """Return what the stage reads."""
    from tuning_room.checks import files

    rubric = config.judge.rubric if config.judge else None
    optional = [config.neutral, rubric, config.standard.include if config.standard else None]
    items = [*(suite.items for suite in config.suites.values()), *filter(None, optional)]
    return [workspace.adapter, config.full_prompt, *items, *files(config.checks)]


def outputs(workspace: Workspace) -> list[Path]:
    """Return what the stage writes."""
    return [workspace.results, workspace.evaluation / "samples"]


def run(config: EvaluateConfig, workspace: Workspace) -> EvaluateResult:
    """Write `evaluation/results.json` and a file of samples for each arm and suite.

    Raises MissingInputError, DataError, ModelNotFoundError, AdapterMismatchError, EngineError of an arm's server, and
    RecipeError for a gate on something that is not measured.
    """
    from tuning_room.evaluate.results import summarize
    from tuning_room.evaluate.runner import Runner
    from tuning_room.records import write_json

    runner = Runner(config, workspace)
    samples = runner.samples()
    also = runner.also()
    summary = summarize(config, samples, runner.identities(also), runner.sizes, also)
    if config.judge:
        from tuning_room.evaluate.judge import judged

        folder = workspace.evaluation / "judge"
        summary["judge"] = judged(config, config.judge, samples, runner.items, folder)
    write_json(workspace.results, summary)
    verdict = summary["verdict"]
    return EvaluateResult(
        verdict=verdict["verdict"],
        rates={
            arm: {name: value["rate"] for name, value in suites["all"].items()}
            for arm, suites in summary["rates"].items()
        },
        failed_gates=[gate["gate"] for gate in verdict["gates"] if not gate["passed"]],
    )


STAGE = Stage("evaluate", EvaluateResult, inputs, outputs, run)

"""The same data trained with other random seeds: how much of a result is luck in training.

A run's intervals show how much another choice of items could change, but not what another order of the rows or another
initialisation would. Each further seed has a run folder of its own inside the first one, and is resumed like any other.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tuning_room.errors import RecipeError
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.files import digest
from tuning_room.recipe import Done, Recipe, run_stage
from tuning_room.records import write_json
from tuning_room.results import Results, Spread, Trainings, read_results
from tuning_room.workspace import Workspace

ARM = "baked"


def train_again(recipe: Recipe, workspace: Workspace, trainings: int, *, force: bool = False) -> Iterator[Done]:
    """Train and evaluate the data of a finished run with further seeds, up to `trainings` trainings in all.

    Yields each stage as it finishes, and at the end writes `evaluation/seeds.json`: by suite and metric, the baked
    arm's rates by seed with their mean, standard deviation and range.
    """
    if ARM not in recipe.evaluate.arms:
        raise RecipeError(f"evaluate.arms: no '{ARM}', so nothing depends on the training", hint="add it")
    found: dict[int, Results] = {recipe.train.seed: read_results(workspace.results)}
    for seed in range(recipe.train.seed + 1, recipe.train.seed + trainings):
        folder = _folder(workspace, seed)
        train = recipe.train.model_copy(update={"seed": seed})
        variant = recipe.model_copy(update={"train": train, "evaluate": _baked_alone(recipe.evaluate)})
        yield run_stage(variant, folder, "train", force=force)
        yield run_stage(variant, folder, "evaluate", force=force)
        found[seed] = read_results(folder.results)
    # The digest of the first seed's results: once those change, the spread no longer describes them.
    first = digest(workspace.results)
    spread = Trainings(arm=ARM, seeds=list(found), suites=spreads(list(found.values()), ARM), results=first)
    write_json(workspace.trainings, spread.model_dump(mode="json"))


def spreads(results: Sequence[Results], arm: str) -> dict[str, dict[str, Spread]]:
    """Return by suite and metric how an arm's rates vary between results, for those that all results have."""
    from tuning_room.evaluate.statistics import across_seeds

    first, *others = [found.rates[arm] for found in results]
    return {
        suite: {
            metric: across_seeds([rates[suite][metric].rate for rates in (first, *others)])
            for metric in metrics
            if all(metric in rates.get(suite, {}) for rates in others)
        }
        for suite, metrics in first.items()
        if all(suite in rates for rates in others)
    }


def _folder(workspace: Workspace, seed: int) -> Workspace:
    """Return the run folder of a seed, which reads the same data."""
    folder = Workspace(workspace.root / "seeds" / str(seed))
    data = folder.train_rows.parent
    data.parent.mkdir(parents=True, exist_ok=True)
    if not data.is_symlink():
        data.symlink_to(Path("..") / ".." / workspace.train_rows.parent.name)
    return folder


def _baked_alone(config: EvaluateConfig) -> EvaluateConfig:
    """Return an evaluation of the baked arm alone: the seed affects no other, and the gates are the first run's."""
    suites = {
        name: suite.model_copy(update={"arms": None})
        for name, suite in config.suites.items()
        if suite.arms is None or ARM in suite.arms
    }
    without = {"arms": [ARM], "gates": [], "judge": None, "economics": False, "standard": None}
    return config.model_copy(update={"suites": suites, **without})

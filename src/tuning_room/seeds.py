"""The same data trained with other seeds: how much of a result is the training's luck.

A run's intervals say how much another choice of items could change; they say nothing of another order of the rows or
other first weights. Each further seed is a run folder of its own below the first one, so that it is resumed like it.
"""

from collections.abc import Iterator
from pathlib import Path

from tuning_room.errors import RecipeError
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.files import digest
from tuning_room.recipe import Done, Recipe, run_stage
from tuning_room.records import read_json, write_json
from tuning_room.workspace import Workspace

ARM = "baked"


def train_again(recipe: Recipe, workspace: Workspace, trainings: int) -> Iterator[Done]:
    """Train and evaluate the data of a finished run with further seeds, so that there are so many trainings in all.

    Yields each stage as it is finished, and in the end writes `evaluation/seeds.json`: by suite and metric, the rates
    of the baked arm by seed, with their mean, deviation and range.
    """
    from tuning_room.evaluate.seeds import spread

    if ARM not in recipe.evaluate.arms:
        raise RecipeError(f"evaluate.arms: no '{ARM}', so nothing depends on the training", hint="add it")
    found = {recipe.train.seed: read_json(workspace.results)}
    for seed in range(recipe.train.seed + 1, recipe.train.seed + trainings):
        folder = _folder(workspace, seed)
        variant = _variant(recipe, seed)
        yield run_stage(variant, folder, "train")
        yield run_stage(variant, folder, "evaluate")
        found[seed] = read_json(folder.results)
    # Of which results the first seed's are: once they are others, this says nothing of them.
    write_json(workspace.seeds, {**spread(found, ARM), "results": digest(workspace.results)})


def _folder(workspace: Workspace, seed: int) -> Workspace:
    """Return the run folder of a seed, which reads the same data."""
    folder = Workspace(workspace.root / "seeds" / str(seed))
    data = folder.train_rows.parent
    data.parent.mkdir(parents=True, exist_ok=True)
    if not data.is_symlink():
        data.symlink_to(Path("..") / ".." / workspace.train_rows.parent.name)
    return folder


def _variant(recipe: Recipe, seed: int) -> Recipe:
    train = recipe.train.model_copy(update={"seed": seed})
    return recipe.model_copy(update={"train": train, "evaluate": _baked_alone(recipe.evaluate)})


def _baked_alone(config: EvaluateConfig) -> EvaluateConfig:
    """Return an evaluation of the baked arm: no other arm depends on the training, and gates are the first run's."""
    suites = {
        name: suite.model_copy(update={"arms": None})
        for name, suite in config.suites.items()
        if suite.arms is None or ARM in suite.arms
    }
    without = {"arms": [ARM], "gates": [], "judge": None, "economics": False, "standard": None}
    return config.model_copy(update={"suites": suites, **without})

"""Standard tasks (gsm8k, ifeval, mmlu, hellaswag, ...) on base and baked, as lm-evaluation-harness ships them.

They run through the harness's own model for transformers, not through an engine of ours, so that few-shot examples,
stop strings and filters are those behind published figures. Their data comes from the hub or its local cache; a task
whose data is missing is reported with the reason and does not stop the others.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tuning_room.evaluate.config import Standard
from tuning_room.models import device, load_adapter, load_model, load_tokenizer
from tuning_room.results import StandardScores, TaskScore

BATCH = 8


class HarnessArm(NamedTuple):
    """An arm for the harness's own model: with or without the adapter, and under which system turn."""

    arm: str
    adapter: Path | None
    system: str


def run_standard(
    config: Standard, model: Path, arms: Sequence[HarnessArm], tell: Callable[[str], None] = lambda _: None
) -> StandardScores:
    """Return the metrics of each task and arm with their standard errors, and the tasks that could not be run."""
    os.environ.setdefault("HF_DATASETS_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "0"))
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(config.include) if config.include else None)
    loaded, missing = {}, {}
    for name in config.tasks:
        try:
            loaded[name] = manager.load([name])
        except Exception as error:  # what a missing data set raises differs from task to task
            reason = " ".join(str(error).split()) or type(error).__name__
            missing[name] = reason if len(reason) <= 200 else f"{reason[:197]}..."
    found: dict[str, dict[str, dict[str, TaskScore]]] = {name: {} for name in loaded}
    for arm in arms if loaded else ():
        harness_model = _opened(model, arm)
        for name, tasks in loaded.items():
            tell(f"{arm.arm}: {name}")
            found[name][arm.arm] = _measured(harness_model, name, tasks, arm, config)
    return StandardScores(tasks=found, missing=missing, limit=config.limit)


def _opened(folder: Path, arm: HarnessArm) -> Any:
    from lm_eval.models.huggingface import HFLM

    model: Any = load_model(folder, device())
    if arm.adapter:
        model = load_adapter(model, arm.adapter)
    return HFLM(pretrained=model, tokenizer=load_tokenizer(folder), device=str(model.device), batch_size=BATCH)


def _measured(model: Any, name: str, tasks: Any, arm: HarnessArm, config: Standard) -> dict[str, TaskScore]:
    from lm_eval.evaluator import evaluate

    results: Any = evaluate(
        lm=model,
        task_dict=tasks,
        limit=config.limit,
        bootstrap_iters=0,
        log_samples=False,
        system_instruction=arm.system or None,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        verbosity="ERROR",
    )
    scores: Mapping[str, Any] = results["results"][name]  # for a group: its own scores, not those of its tasks
    found = {}
    for metric in scores:
        if "," in metric and "_stderr," not in metric:
            error = scores.get(metric.replace(",", "_stderr,"))
            stderr = float(error) if isinstance(error, int | float) else None
            found[metric] = TaskScore(value=float(scores[metric]), stderr=stderr)
    return found

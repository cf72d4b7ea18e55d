"""lm-evaluation-harness over our engines: the tasks as it reads them, and a model for it that is an engine."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from tuning_room.engines import Engine, Reply, Sampling
from tuning_room.errors import StageError
from tuning_room.files import atomic_writer
from tuning_room.records import Message

METRICS_FILE = '''"""The items and metrics of these tasks, for lm-evaluation-harness."""

from tuning_room.evaluate.metrics import load_items, process_results

__all__ = ["load_items", "process_results"]
'''


class EngineModel(LM):
    """Lets lm-evaluation-harness ask an engine; messages go through as messages, not as rendered text."""

    def __init__(self, engine: Engine, model: str, sampling: Sampling, on_reply: Callable[[], None]) -> None:
        super().__init__()
        self.engine, self.model, self.sampling, self.on_reply = engine, model, sampling, on_reply
        self.replies: dict[str, Reply] = {}

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the messages as JSON: the engine renders them, as it does for everybody."""
        return json.dumps(chat_history)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer all requests."""
        contexts = [request.args[0] for request in requests]
        dialogues = [[Message(**turn) for turn in json.loads(context)] for context in contexts]
        replies = self.engine.complete(self.model, dialogues, self.sampling, lambda *_: self.on_reply())
        self.replies |= {request.doc["id"]: reply for request, reply in zip(requests, replies, strict=True)}
        return [reply.text for reply in replies]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Refuse: a chat engine has no log-likelihoods to give."""
        raise StageError("a chat engine gives no log-likelihoods", hint="use a task of type generate_until")

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Refuse: a chat engine has no log-likelihoods to give."""
        raise StageError("a chat engine gives no log-likelihoods", hint="use a task of type generate_until")

    @property
    def tokenizer_name(self) -> str:
        """Return the model's name, by which the harness tells caches apart."""
        return self.model


def task_name(suite: str) -> str:
    """Return the name under which the harness knows a suite."""
    return f"tuning_room_{suite}"


def write_tasks(folder: Path, suites: dict[str, Path], metrics: list[str], max_tokens: int) -> None:
    """Write the suites as task files that plain `lm_eval --include_path FOLDER` can run as well."""
    for suite, items in suites.items():
        with atomic_writer(folder / f"{suite}.yaml") as out:
            out.write(_task_yaml(suite, items, metrics, max_tokens))
    with atomic_writer(folder / "metrics.py") as out:
        out.write(METRICS_FILE)


def _task_yaml(suite: str, items: Path, metrics: list[str], max_tokens: int) -> str:
    lines = [f"  - {{metric: {name}, aggregation: mean, higher_is_better: true}}" for name in metrics]
    return "\n".join(
        [
            f"task: {task_name(suite)}",
            "custom_dataset: !function metrics.load_items",
            f"dataset_kwargs: {{items: {json.dumps(str(items.resolve()))}}}",
            "test_split: test",
            "output_type: generate_until",
            'doc_to_text: "{{prompt}}"',
            'doc_to_target: "{{gold}}"',
            "process_results: !function metrics.process_results",
            f"generation_kwargs: {{until: [], max_gen_toks: {max_tokens}, do_sample: false}}",
            "metric_list:",
            *lines,
            "metadata: {version: 1.0}",
            "",
        ]
    )


def run_task(model: EngineModel, tasks: Path, suite: str, system: str, limit: int | None) -> list[dict[str, Any]]:
    """Return the harness's samples of one suite: document, reply and metrics."""
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    results: Any = simple_evaluate(
        model=model,
        tasks=[task_name(suite)],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        system_instruction=system or None,
        apply_chat_template=True,
        log_samples=True,
        limit=limit,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    return list(results["samples"][task_name(suite)])

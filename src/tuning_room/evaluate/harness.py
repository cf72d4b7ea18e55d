"""A model for lm-evaluation-harness that is an engine of ours, and a suite run on it."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from tuning_room.engines import Engine, Reply, Sampling
from tuning_room.errors import StageError
from tuning_room.evaluate.tasks import item_of, task_name
from tuning_room.records import Message

SILENCE = "..."  # an empty reply as a turn of a dialogue that goes on: an empty turn is none


@runtime_checkable
class Weighing(Protocol):
    """An engine that can say how likely a reply is."""

    def log_likelihoods(self, model: str, dialogues: Sequence[Sequence[Message]], answers: Sequence[str]) -> Any:
        """Return for each answer its log-probability in nats, its tokens, and whether it is the greedy one."""


class EngineModel(LM):
    """Lets lm-evaluation-harness ask an engine; messages go through as messages, not as rendered text."""

    takes_turns = True

    def __init__(self, engine: Engine, model: str, sampling: Sampling, on_reply: Callable[[], None]) -> None:
        super().__init__()
        self.engine, self.model, self.sampling, self.on_reply = engine, model, sampling, on_reply
        self.replies: dict[tuple[str, str], list[Reply]] = {}  # by task and item

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the messages as JSON: the engine renders them, as it does for everybody."""
        return json.dumps(chat_history)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer all requests; of those that are dialogues, every turn, as JSON."""
        items = [item_of(request.doc) for request in requests]
        dialogues = [_messages(request.args[0]) for request in requests]
        replies: list[list[Reply]] = [[] for _ in requests]
        for turn, asked in enumerate(_rounds([len(item.turns) for item in items])):
            for n, reply in zip(asked, self._answers([dialogues[n] for n in asked]), strict=True):
                replies[n].append(reply)
                dialogues[n] += _going_on(reply, items[n].turns[turn : turn + 1])
        self.replies |= {_place(request): said for request, said in zip(requests, replies, strict=True)}
        return [_as_result(said, bool(item.turns)) for item, said in zip(items, replies, strict=True)]

    def _answers(self, dialogues: list[list[Message]]) -> list[Reply]:
        return self.engine.complete(self.model, dialogues, self.sampling, lambda *_: self.on_reply())

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each continuation, and whether it is the greedy one."""
        if not isinstance(self.engine, Weighing):
            raise StageError(
                "this engine gives no log-likelihoods", hint="leave out the items with choices, or evaluate in-process"
            )
        dialogues = [_messages(request.args[0]) for request in requests]
        scores = self.engine.log_likelihoods(self.model, dialogues, [request.args[1] for request in requests])
        for _ in {_place(request) for request in requests}:
            self.on_reply()
        return [(score.total, score.is_greedy) for score in scores]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Refuse: no suite needs it."""
        raise StageError("a chat engine gives no rolling log-likelihoods", hint="use a task of another type")

    @property
    def tokenizer_name(self) -> str:
        """Return the model's name, by which the harness tells caches apart."""
        return self.model


def _rounds(turns: Sequence[int]) -> list[list[int]]:
    """Return who is asked in each round: the dialogues that are still open, and a share of the single replies.

    A round of few dialogues costs nearly as much as one of many, since all weights are read for each token.
    """
    count = 1 + max(turns, default=0)
    single = [n for n, more in enumerate(turns) if not more]
    return [
        [*(n for n, more in enumerate(turns) if more and more >= turn), *single[turn::count]] for turn in range(count)
    ]


def _place(request: Instance) -> tuple[str, str]:
    return str(request.task_name), item_of(request.doc).id


def _messages(context: str) -> list[Message]:
    return [Message(**turn) for turn in json.loads(context)]


def _going_on(reply: Reply, said: list[str]) -> list[Message]:
    if not said:
        return []
    return [Message(role="assistant", content=reply.text or SILENCE), Message(role="user", content=said[0])]


def _as_result(replies: list[Reply], is_dialogue: bool) -> str:
    return json.dumps([reply.text for reply in replies]) if is_dialogue else replies[0].text


def run_tasks(model: LM, tasks: Path, suites: Sequence[str], system: str) -> dict[str, list[dict[str, Any]]]:
    """Return the harness's samples of suites that are asked together: document, reply and metrics."""
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    # Not by `simple_evaluate`: at each call that lists every installed package, which takes seconds.
    results: Any = evaluate(
        lm=model,
        task_dict=manager.load([task_name(suite) for suite in suites]),
        system_instruction=system or None,
        apply_chat_template=True,
        log_samples=True,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    return {suite: list(results["samples"][task_name(suite)]) for suite in suites}

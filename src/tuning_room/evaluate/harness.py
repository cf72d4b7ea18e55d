"""A model for lm-evaluation-harness that is an engine of ours, and a suite run on it."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from tuning_room.engines import Engine, Reply, Sampling, Talk
from tuning_room.errors import StageError
from tuning_room.evaluate.reply_log import ReplyLog
from tuning_room.evaluate.tasks import item_of, task_name
from tuning_room.records import Message
from tuning_room.rendering import with_system


@runtime_checkable
class Weighing(Protocol):
    """An engine that can say how likely a reply is."""

    def log_likelihoods(self, model: str, dialogues: Sequence[Sequence[Message]], answers: Sequence[str]) -> Any:
        """Return for each answer its log-probability in nats, its tokens, and whether it is the greedy one."""


class Part(NamedTuple):
    """A suite as an arm is asked it: the model's name, the system turn, and the key under which replies are kept."""

    model: str
    system: str = ""
    key: str = ""


class EngineModel(LM):
    """Lets lm-evaluation-harness ask an engine; messages go through as messages, not as rendered text.

    `parts` says by a task's name which model is asked, and under which system turn; any other task is asked of `model`
    as it comes. Tasks of several arms then share one run, so that no arm waits for another.
    """

    takes_turns = True

    def __init__(
        self,
        engine: Engine,
        model: str,
        sampling: Sampling,
        on_reply: Callable[[], None],
        *,
        parts: Mapping[str, Part] | None = None,
        log: ReplyLog | None = None,
    ) -> None:
        super().__init__()
        self.engine, self.model, self.sampling, self.on_reply = engine, model, sampling, on_reply
        self.parts, self.log = parts or {}, log or ReplyLog()
        self.replies: dict[tuple[str, str], list[Reply]] = {}  # by task and item

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the messages as JSON: the engine renders them, as it does for everybody."""
        return json.dumps(chat_history)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer all requests; of those that are dialogues, every turn, as JSON."""
        talks = [self._talk(request) for request in requests]
        keys = [self._key(request) for request in requests]
        replies = [self.log.known(key, 1 + len(talk.turns)) for key, talk in zip(keys, talks, strict=True)]
        for _ in (reply for said in replies for reply in said):
            self.on_reply()
        missing = [n for n, said in enumerate(replies) if not said]

        def heard(place: int, reply: Reply) -> None:
            self.on_reply()
            n = missing[place]
            replies[n].append(reply)
            if len(replies[n]) > len(talks[n].turns):
                self.log.add(keys[n], replies[n])

        with self.log.open():
            self.engine.converse([talks[n] for n in missing], self.sampling, heard)
        self.replies |= {_place(request): said for request, said in zip(requests, replies, strict=True)}
        return [_as_result(said, bool(talk.turns)) for talk, said in zip(talks, replies, strict=True)]

    def _talk(self, request: Instance) -> Talk:
        return Talk(self._part(request).model, self._messages(request), item_of(request.doc).turns)

    def _messages(self, request: Instance) -> list[Message]:
        return with_system(self._part(request).system, [Message(**turn) for turn in json.loads(request.args[0])])

    def _part(self, request: Instance) -> Part:
        return self.parts.get(str(request.task_name)) or Part(self.model)

    def _key(self, request: Instance) -> str:
        key = self._part(request).key
        return f"{key} {item_of(request.doc).id}" if key else ""

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each continuation, and whether it is the greedy one."""
        if not isinstance(self.engine, Weighing):
            raise StageError(
                "this engine gives no log-likelihoods", hint="leave out the items with choices, or evaluate in-process"
            )
        found: dict[int, tuple[float, bool]] = {}
        for model in dict.fromkeys(self._part(request).model for request in requests):
            chosen = [n for n, request in enumerate(requests) if self._part(request).model == model]
            asked = [requests[n] for n in chosen]
            answers = [request.args[1] for request in asked]
            scores = self.engine.log_likelihoods(model, [self._messages(request) for request in asked], answers)
            found |= {n: (score.total, score.is_greedy) for n, score in zip(chosen, scores, strict=True)}
            for _ in {_place(request) for request in asked}:
                self.on_reply()
        return [found[n] for n in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Refuse: no suite needs it."""
        raise StageError("a chat engine gives no rolling log-likelihoods", hint="use a task of another type")

    @property
    def tokenizer_name(self) -> str:
        """Return the model's name, by which the harness tells caches apart."""
        return self.model


def _place(request: Instance) -> tuple[str, str]:
    return str(request.task_name), item_of(request.doc).id


def _as_result(replies: list[Reply], is_dialogue: bool) -> str:
    return json.dumps([reply.text for reply in replies]) if is_dialogue else replies[0].text


def run_tasks(model: LM, tasks: Path, suites: Mapping[str, str], system: str = "") -> dict[str, list[dict[str, Any]]]:
    """Return the harness's samples of suites, by the names they are given here: document, reply and metrics."""
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    # Not by `simple_evaluate`: at each call that lists every installed package, which takes seconds.
    results: Any = evaluate(
        lm=model,
        task_dict={"tasks": {name: _task(manager, suite, name) for name, suite in suites.items()}},
        system_instruction=system or None,
        apply_chat_template=True,
        log_samples=True,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    return {name: list(results["samples"][name]) for name in suites}


def _task(manager: Any, suite: str, name: str) -> Any:
    task = manager.load([task_name(suite)])["tasks"][task_name(suite)]
    task.set_config("task", name)
    return task

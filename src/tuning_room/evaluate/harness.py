"""An engine of ours as a model of lm-evaluation-harness, and suites run on it."""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from tuning_room.engines import Engine, Reply, Sampling, Talk
from tuning_room.errors import StageError
from tuning_room.evaluate.replies import ChoiceLikelihood, ReplyStore, StoredAnswer, answer_key
from tuning_room.evaluate.tasks import SuiteTask, item_of, task_name
from tuning_room.records import Message
from tuning_room.rendering import with_system


@runtime_checkable
class Weighing(Protocol):
    """An engine that can compute how likely a reply is."""

    def log_likelihoods(self, model: str, dialogues: Sequence[Sequence[Message]], answers: Sequence[str]) -> Any:
        """Return for each answer its log-probability in nats, its tokens, and whether it is the greedy one."""


class TaskArm(NamedTuple):
    """A suite as put to an arm: the model's name, the system turn, and a digest of how it is asked.

    The digest decides which answers on disk can be reused; without one, none can. `weights` is that of the model.
    """

    model: str
    system: str = ""
    asked_as: str = ""
    weights: str = ""


class TaskItem(NamedTuple):
    """An item of a task."""

    task: str
    item: str


class EngineModel(LM):
    """Lets lm-evaluation-harness ask an engine; messages are passed on as messages, not as rendered text.

    `parts` maps a task's name to the model to ask and its system turn; any other task is put to `model` unchanged. The
    tasks of several arms thus share one run, and no arm waits for another. The engine is opened only when a question
    comes up that the store cannot answer.
    """

    takes_turns = True

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        model: str,
        sampling: Sampling,
        on_reply: Callable[[], None],
        *,
        parts: Mapping[str, TaskArm] | None = None,
        store: ReplyStore | None = None,
    ) -> None:
        super().__init__()
        self._open_engine, self.model, self.sampling, self.on_reply = open_engine, model, sampling, on_reply
        self.parts, self.store = parts or {}, store or ReplyStore()
        self.answers: dict[TaskItem, StoredAnswer] = {}

    @cached_property
    def engine(self) -> Engine:
        """The engine, opened on first use."""
        return self._open_engine()

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the messages as JSON: the engine renders them, as it does for everybody."""
        return json.dumps(chat_history)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer all requests; a dialogue's answer is the replies to all its turns, as JSON."""
        talks = [Talk(self._part(r).model, self._messages(r), item_of(r.doc).turns) for r in requests]
        answers = [self._known(request) for request in requests]
        for answer in answers:
            for _ in answer.replies:
                self.on_reply()
        missing = [n for n, answer in enumerate(answers) if not answer.replies]
        # A question that two suites share is asked once.
        first: dict[str, int] = {}
        asked = [n for n in missing if not answers[n].key or first.setdefault(answers[n].key, n) == n]
        pending: dict[int, list[Reply]] = {n: [] for n in asked}

        def receive(place: int, reply: Reply) -> None:
            self.on_reply()
            n = asked[place]
            pending[n].append(reply)
            if len(pending[n]) > len(talks[n].turns):
                answers[n] = answers[n].model_copy(update={"replies": pending[n]})
                self.store.add(answers[n])

        if asked:
            with self.store.open():
                self.engine.converse([talks[n] for n in asked], self.sampling, receive)
        for n in missing:
            if n not in pending:
                answers[n] = answers[first[answers[n].key]]
                for _ in answers[n].replies:
                    self.on_reply()
        self.answers |= {_place(request): answer for request, answer in zip(requests, answers, strict=True)}
        texts = [[reply.text for reply in answer.replies] for answer in answers]
        return [json.dumps(turns) if talk.turns else turns[0] for talk, turns in zip(talks, texts, strict=True)]

    def _known(self, request: Instance) -> StoredAnswer:
        """Return the answer on disk, or an empty one."""
        item, part = item_of(request.doc), self._part(request)
        key = answer_key(part.asked_as, item) if part.asked_as else ""
        known = self.store.known.get(key) if key else None
        if known and (len(known.replies) == 1 + len(item.turns) or len(known.likelihoods) == len(item.choices) > 0):
            return known
        return StoredAnswer(key=key, weights=part.weights, item=item.id)

    def _messages(self, request: Instance) -> list[Message]:
        return with_system(self._part(request).system, [Message(**turn) for turn in json.loads(request.args[0])])

    def _part(self, request: Instance) -> TaskArm:
        return self.parts.get(str(request.task_name)) or TaskArm(self.model)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each continuation, and whether it is the greedy one."""
        choices: dict[TaskItem, list[Instance]] = defaultdict(list)
        for request in requests:
            choices[_place(request)].append(request)
        answers = {place: self._known(asked[0]) for place, asked in choices.items()}
        unknown = [place for place, answer in answers.items() if not answer.likelihoods]
        for model in dict.fromkeys(self._part(choices[place][0]).model for place in unknown):
            mine = [place for place in unknown if self._part(choices[place][0]).model == model]
            likelihoods = self._weigh(model, [choices[place] for place in mine])
            with self.store.open():
                for place, found in zip(mine, likelihoods, strict=True):
                    answers[place] = answers[place].model_copy(update={"likelihoods": found})
                    self.store.add(answers[place])
        for _ in answers:
            self.on_reply()
        self.answers |= answers
        return [answers[_place(request)].likelihoods[request.idx] for request in requests]

    def _weigh(self, model: str, items: Sequence[Sequence[Instance]]) -> list[list[ChoiceLikelihood]]:
        """Return the likelihoods of the choices of items, all of one model in one call."""
        if not isinstance(self.engine, Weighing):
            raise StageError(
                "this engine gives no log-likelihoods", hint="leave out the items with choices, or evaluate in-process"
            )
        asked = [request for requests in items for request in sorted(requests, key=lambda request: request.idx)]
        messages, texts = [self._messages(request) for request in asked], [request.args[1] for request in asked]
        scores = self.engine.log_likelihoods(model, messages, texts)
        if not all(isfinite(score.total) for score in scores):
            raise StageError(
                f"{model}: a log-likelihood is not finite", hint="check the model's weights, or leave out the choices"
            )
        found = iter(ChoiceLikelihood(score.total, score.is_greedy) for score in scores)
        return [[next(found) for _ in requests] for requests in items]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Refuse: no suite needs it."""
        raise StageError("a chat engine gives no rolling log-likelihoods", hint="use a task of another type")

    @property
    def tokenizer_name(self) -> str:
        """Return the model's name, which the harness uses to tell caches apart."""
        return self.model


def _place(request: Instance) -> TaskItem:
    return TaskItem(str(request.task_name), item_of(request.doc).id)


def run_tasks(model: LM, tasks: Path, suites: Mapping[str, str], system: str = "") -> dict[str, SuiteTask]:
    """Have the harness run suites, each under the name given here, and return the tasks with their scores."""
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    named: dict[str, SuiteTask] = {}
    for name, suite in suites.items():
        named[name] = manager.load([task_name(suite)])["tasks"][task_name(suite)]
        named[name].set_config("task", name)
    # Not with `simple_evaluate`, which lists every installed package at each call: that takes seconds.
    evaluate(
        lm=model,
        task_dict={"tasks": named},
        system_instruction=system or None,
        apply_chat_template=True,
        log_samples=False,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    return named

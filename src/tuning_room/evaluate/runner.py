"""Runs every arm on every suite; earlier answers are read from disk, and their metrics computed afresh."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tuning_room.checks import CheckSettings, each
from tuning_room.checks.reciting import shared_texts
from tuning_room.engines import Engine, Reply, Sampling
from tuning_room.engines.addresses import public
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.engines.local import LocalEngine
from tuning_room.evaluate.besides import TEXTS, Measuring, check_applied
from tuning_room.evaluate.checking import RETENTION, check
from tuning_room.evaluate.config import ADAPTER, BASE, ArmSetup, EvaluateConfig, setup
from tuning_room.evaluate.harness import EngineModel, TaskArm, TaskItem, run_tasks
from tuning_room.evaluate.replies import ReplyStore, StoredAnswer, answer_key
from tuning_room.evaluate.suites import chosen, read_items, unused
from tuning_room.evaluate.tasks import Context, SuiteTask, write_tasks
from tuning_room.files import digest, text_digest
from tuning_room.gates import Arm
from tuning_room.models import LINEAGE, load_tokenizer, resolve
from tuning_room.models.embeddings import packaged_folder
from tuning_room.models.lineage import trained_lineage
from tuning_room.progress import ProgressBar
from tuning_room.records import Dialogue, Item, Message, read_json, read_jsonl, write_jsonl
from tuning_room.rendering import render_text, system_tokens, with_system
from tuning_room.requirements import Requirement
from tuning_room.results import WEIGHED, ArmIdentity, Besides, Sample, sample_file
from tuning_room.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ArmOnSuite = tuple[ArmSetup, str]
QUESTION = Message(role="user", content="?")


class Runner:
    """Holds what the arms share: the engine, the items and the decoding settings."""

    def __init__(self, config: EvaluateConfig, workspace: Workspace) -> None:
        check(config)
        if any("resembles" in config.metrics_of(suite) for suite in config.suites):
            packaged_folder()  # fails before minutes are spent on replies that could not be measured
        self.config, self.workspace = config, workspace
        self.sampling = Sampling(max_tokens=config.max_tokens)
        self.model_folder = resolve(config.model)
        self.base_digest = digest(self.model_folder)
        # One that is not needed today is looked at all the same: its arms' answers are kept.
        is_there = config.needs_adapter or (workspace.adapter / LINEAGE).is_file()
        self.adapter_digest = trained_lineage(workspace.adapter).adapter_digest if is_there else ""
        self.items = chosen(config)
        self.sizes = {name: len(read_items(suite.items)) for name, suite in config.suites.items()}
        self.requirements = config.read_requirements()
        prompt = config.full_prompt.read_text(encoding="utf-8-sig").strip()
        taught = shared_texts(_replies(workspace.train_rows), prompt)
        self.context = Context(prompt, _inline(config.checks), _rules(self.requirements), taught, config.language)
        self.arms = [setup(name, config) for name in config.arms]
        self.store = ReplyStore(workspace.replies)
        self._engine: LocalEngine | None = None

    def unused(self) -> dict[str, int]:
        """Return how many items `--all-items` would add, by suite and by the metric of each requirement."""
        texts = len(read_items(self.config.neutral)) if self.config.neutral and not self.config.all_items else 0
        return {**unused(self.config, self.items), RETENTION: max(0, texts - TEXTS)}

    def samples(self) -> list[Sample]:
        """Return the samples of all arms and suites, arm by arm, and write them to their files."""
        tasks = self.workspace.evaluation / "tasks"
        metrics = {suite: self.config.metrics_of(suite) for suite in self.items}
        write_tasks(tasks, self.items, metrics, self.config.max_tokens, self.context)
        self._knock()
        # The arms in this process share one engine and are asked together; each server is asked by itself.
        here = [arm for arm in self.arms if not arm.endpoint]
        found: dict[ArmOnSuite, list[Sample]] = {}
        total = sum(1 + len(item.turns) for _, suite in self._pairs() for item in self.items[suite])
        with ProgressBar("evaluate", total) as bar:
            for arms in [here, *([arm] for arm in self.arms if arm.endpoint)]:
                found |= self._ask(arms, tasks, bar.advance)
        # Also the arms that are left out today, and items beyond a limit, may be asked again tomorrow.
        names = [name for name in get_args(Arm) if name != "reference" or name in self.config.endpoints]
        self.store.keep_only({self._weights(setup(name, self.config)) for name in names})
        samples = [sample for pair in self._pairs() for sample in found[pair]]
        self.write(samples)
        return samples

    def _ask(
        self, arms: Sequence[ArmSetup], tasks: Path, on_reply: Callable[[], None]
    ) -> dict[ArmOnSuite, list[Sample]]:
        """Return the samples of one engine's arms on their suites."""
        names = {arm.name for arm in arms}
        named = {f"{arm.name}.{suite}": (arm, suite) for arm, suite in self._pairs() if arm.name in names}
        if not named:
            return {}
        parts = {
            name: TaskArm(arm.model, arm.system, self._asked_as(arm), self._weights(arm))
            for name, (arm, _) in named.items()
        }
        opened = lambda: self._open(arms[0])  # noqa: E731
        model = EngineModel(opened, "", self.sampling, on_reply, parts=parts, store=self.store)
        done = run_tasks(model, tasks, {name: suite for name, (_, suite) in named.items()})
        return {
            (arm, suite): samples_of(arm.name, suite, self.items[suite], done[name], model.answers)
            for name, (arm, suite) in named.items()
        }

    def write(self, samples: Sequence[Sample]) -> None:
        """Write the samples, and remove the files of arms and suites that the recipe no longer has."""
        files: dict[Path, list[Sample]] = {}
        for sample in samples:
            files.setdefault(sample_file(self.workspace.evaluation, sample.arm, sample.suite), []).append(sample)
        for path, rows in files.items():
            write_jsonl(path, rows)
        for path in set(self.workspace.samples.glob("*.jsonl")) - set(files):
            path.unlink()

    def besides(self) -> Besides:
        """Return what else is measured of the arms in this process."""
        digests = (self.base_digest, self.adapter_digest)
        prompt = self.context.full_prompt
        return Measuring(self.config, self.workspace, self.arms, self.model_folder, prompt, digests, self.local).all()

    def identities(self, besides: Besides) -> dict[str, ArmIdentity]:
        """Return what each arm was; AdapterMismatchError for an adapter that changes nothing."""
        tokenizer = load_tokenizer(self.model_folder)
        moves = besides.divergence.kl if besides.divergence else None
        if moves is not None:
            check_applied(moves, self.workspace.adapter)
        return {arm.name: self._identity(arm, tokenizer, moves) for arm in self.arms}

    def _identity(self, arm: ArmSetup, tokenizer: "PreTrainedTokenizerBase", moves: float | None) -> ArmIdentity:
        system = text_digest(arm.system)
        if arm.endpoint:
            address = self._weights(arm)
            return ArmIdentity(base_model="", adapter="", system_prompt=system, system_tokens=0, endpoint=address)
        return ArmIdentity(
            base_model=self.base_digest,
            adapter=self.adapter_digest if arm.has_adapter else "",
            system_prompt=system,
            system_tokens=system_tokens(tokenizer, arm.system),
            rendered=text_digest(render_text(tokenizer, with_system(arm.system, [QUESTION]), ask=True)),
            adapter_moves=moves if arm.has_adapter else None,
        )

    def _knock(self) -> None:
        # Finds a server that is down, or does not know its model, before minutes are spent on the other arms.
        for arm in sorted((arm for arm in self.arms if arm.endpoint), key=lambda arm: arm.name):
            pairs = [pair for pair in self._pairs() if pair[0].name == arm.name]
            if any(key not in self.store.known for pair in pairs for key in self._keys(*pair)):
                self._open(arm).complete(arm.model, [[QUESTION]], Sampling(max_tokens=1))

    def _keys(self, arm: ArmSetup, suite: str) -> list[str]:
        """Return the keys of an arm's answers to a suite."""
        asked_as = self._asked_as(arm)
        return [answer_key(asked_as, item) for item in self.items[suite]]

    def _asked_as(self, arm: ArmSetup) -> str:
        """Return a digest of all that an arm's answers depend on besides the items."""
        parts = [self._weights(arm), arm.model, arm.system, self.sampling.__dict__]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _weights(self, arm: ArmSetup) -> str:
        """Return what tells an arm's model from others: a digest of all that it is loaded from, or its address."""
        if arm.endpoint:
            return f"{arm.endpoint.model} at {public(arm.endpoint.address)}"
        adapter = [self.adapter_digest] if arm.has_adapter else []
        return hashlib.sha256(" ".join([self.base_digest, *adapter]).encode()).hexdigest()

    def _open(self, arm: ArmSetup) -> Engine:
        if arm.endpoint:
            server = arm.endpoint
            return EndpointEngine(
                server.address, server.model, key_variable=server.key_variable, concurrency=server.concurrency
            )
        return self.local()

    @property
    def path(self) -> str:
        """Say why the model in this process is not computed by the fast decoder, '' if it is or was not needed."""
        return self._engine.path if self._engine and not self._engine.is_fast else ""

    def local(self) -> LocalEngine:
        """Return the engine of the arms in this process, loaded on first use."""
        if self._engine is None:
            adapters = {ADAPTER: self.workspace.adapter} if self.config.needs_adapter else {}
            self._engine = LocalEngine(
                self.model_folder, base=BASE, adapters=adapters, batch_size=self.config.batch_size
            )
        return self._engine

    def _pairs(self) -> list[ArmOnSuite]:
        """Return the arms on the suites that they are asked, without a system turn where the suite wants none."""
        suites = self.config.suites
        return [
            (arm._replace(system="") if suites[suite].system == "none" else arm, suite)
            for arm in self.arms
            for suite in self.items
            if arm.name in self.config.arms_of(suite)
        ]


def _replies(train_rows: Path) -> list[str]:
    """Return what the assistant says in each training row; nothing where there is no file of rows."""
    rows = read_jsonl(train_rows, Dialogue) if train_rows.is_file() else ()
    return ["\n".join(turn.content for turn in row.messages if turn.role == "assistant") for row in rows]


def _rules(requirements: Sequence[Requirement]) -> dict[str, dict[str, Any]]:
    """Return by id when a reply keeps a requirement, for those that rules can decide."""
    return {
        one.id: {"has": one.has, "has_not": one.has_not, "checks": _inline(one.checks)}
        for one in requirements
        if one.metrics or one.checks
    }


def _inline(checks: CheckSettings) -> dict[str, list[dict[str, Any]]]:
    """Return checks with the content of the files that they name, so that the task files stand on their own."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in checks}
    for name, parameters in each(checks):
        found[name].append(
            {key: read_json(value) if isinstance(value, Path) else value for key, value in parameters.items()}
        )
    return found


def samples_of(
    arm: str, suite: str, items: Sequence[Item], task: SuiteTask, answers: Mapping[TaskItem, StoredAnswer]
) -> list[Sample]:
    """Return the samples of an arm on a suite: one per reply, or one for an item whose choices were weighed."""
    found = []
    for item in items:
        replies = answers[TaskItem(task.config.task, item.id)].replies or [Reply("", WEIGHED, 0, 0)]
        turns = zip([item.prompt, *item.turns], replies, task.scores[item.id], strict=True)
        for turn, (prompt, reply, scores) in enumerate(turns, start=1):
            found.append(
                Sample(
                    arm=arm,
                    suite=suite,
                    item=item.id,
                    turn=turn,
                    prompt=prompt,
                    reply=reply.text,
                    finish_reason=reply.finish_reason,
                    prompt_tokens=reply.prompt_tokens,
                    completion_tokens=reply.completion_tokens,
                    **scores._asdict(),
                    **item.model_dump(include={"topic", "family", "type", "wanted", "in_syllabus", "before", "gold"}),
                )
            )
    return found

"""The suites as tasks of lm-evaluation-harness: a folder of files that its own command line can run anywhere."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from tuning_room.checks import Case, CheckSettings, find_metric
from tuning_room.errors import StageError
from tuning_room.evaluate.scoring import KeepingRule, Scored, scored
from tuning_room.files import atomic_writer
from tuning_room.records import Item, read_json, read_jsonl, write_json, write_jsonl

CONTEXT_FILE = "context.json"
TURN_BY_TURN = "takes_turns"  # attribute of a model class that answers dialogues turn by turn, on its own replies
# The folder can be anywhere: the harness loads this file from it, and the others are found beside it.
SUITE_FILE = '''"""The class of these tasks, for lm-evaluation-harness."""

from pathlib import Path

from tuning_room.evaluate import tasks


class SuiteTask(tasks.SuiteTask):
    """A suite of this folder."""

    folder = Path(__file__).parent


def load_items(items, **_metadata):
    """Return the items of a file of this folder."""
    return tasks.load_items(Path(__file__).parent / items)
'''


class Context(NamedTuple):
    """What metrics need besides the item.

    That is the full prompt, the training data's checks, the requirements' rules, and the words of the full prompt that
    training replies share.
    """

    full_prompt: str = ""
    checks: CheckSettings = {}
    requirements: Mapping[str, Mapping[str, Any]] = {}  # by id: the fields of a KeepingRule
    prescribed: Sequence[str] = ()
    language: str = ""  # of the replies


def task_name(suite: str) -> str:
    """Return the name under which the harness knows a suite."""
    return f"tuning_room_{suite}"


def write_tasks(
    folder: Path,
    suites: Mapping[str, list[Item]],
    metrics: Mapping[str, Sequence[str]],
    max_tokens: int,
    context: Context,
) -> None:
    """Write items, context and a task file for each suite, for `lm_eval run --include_path FOLDER`."""
    write_json(folder / CONTEXT_FILE, context._asdict())
    for suite, items in suites.items():
        write_jsonl(folder / f"{suite}.jsonl", items)
        with atomic_writer(folder / f"{suite}.yaml") as out:
            out.write(_task_yaml(suite, metrics[suite], max_tokens))
    with atomic_writer(folder / "suite.py") as out:
        out.write(SUITE_FILE)


def _task_yaml(suite: str, metrics: Sequence[str], max_tokens: int) -> str:
    higher = {name: str(find_metric(name).higher_is_better).lower() for name in metrics}
    lines = [f"  - {{metric: {name}, aggregation: mean, higher_is_better: {higher[name]}}}" for name in metrics]
    return "\n".join(
        [
            f"task: {task_name(suite)}",
            "class: !function suite.SuiteTask",
            "custom_dataset: !function suite.load_items",
            f"dataset_kwargs: {{items: {suite}.jsonl}}",
            "test_split: test",
            "num_fewshot: 0",
            "output_type: generate_until",
            "doc_to_text: prompt",
            "doc_to_target: gold",
            f"generation_kwargs: {{until: [], max_gen_toks: {max_tokens}, do_sample: false}}",
            "metric_list:",
            *lines,
            "metadata: {version: 3.0}",
            "",
        ]
    )


def load_items(items: Path) -> dict[str, Any]:
    """Return a file of items as the harness's split `test`; DataError names the line that is not one."""
    from datasets import Dataset

    # As text: the library's own reader would turn answers that look like dates into dates, and unify the fields' types.
    rows = [item.model_dump_json() for item in read_jsonl(items, Item)]
    return {"test": Dataset.from_dict({"id": [str(n) for n in range(len(rows))], "item": rows})}


def item_of(doc: Mapping[str, Any]) -> Item:
    """Return the item that a document of these tasks holds."""
    return Item.model_validate_json(doc["item"])


class SuiteTask(ConfigurableTask):
    """A suite: one reply to an item, a reply to each turn of a dialogue, or the likelihood of each choice.

    Once the harness has run, `scores` holds the scores of each item: of its reply, of each turn, or of the choice.
    """

    folder = Path()

    def __init__(self, config: dict[str, Any]) -> None:
        # With `process_results` in its configuration, the harness does not look for our metrics on the hub.
        ours = {"process_results": self.process_results}
        super().__init__(config={**{key: value for key, value in config.items() if key != "class"}, **ours})
        self.context = Context(**read_json(self.folder / CONTEXT_FILE))
        self.rules = {name: KeepingRule(**rule) for name, rule in self.context.requirements.items()}
        self.measures = [entry["metric"] for entry in config["metric_list"]]
        self.scores: dict[str, list[Scored]] = {}

    def doc_to_text(self, doc: dict[str, Any], *_: Any) -> str:
        """Return what the user writes."""
        return item_of(doc).prompt

    def doc_to_target(self, doc: dict[str, Any], *_: Any) -> str:
        """Return the gold answer."""
        return item_of(doc).gold

    def fewshot_context(
        self,
        doc: dict[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> str:
        """Return the system turn, the turns before the prompt and the prompt, as the model's template writes them."""
        item = item_of(doc)
        if item.turns and not hasattr(getattr(chat_template, "__self__", None), TURN_BY_TURN):
            raise StageError(
                f"{item.id}: this model cannot answer turn by turn",
                hint="run 'tuning-room evaluate', or --model tuning-room --apply_chat_template (docs/evaluation.md)",
            )
        system = [{"role": "system", "content": system_instruction}] if system_instruction else []
        turns = [*system, *(turn.as_dict() for turn in item.before), {"role": "user", "content": item.prompt}]
        if apply_chat_template and chat_template:
            return chat_template(turns, add_generation_prompt=True)
        return "\n\n".join(turn["content"] for turn in turns)

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> Any:
        """Return one request for a reply, or one for the likelihood of each choice."""
        item, metadata = item_of(doc), {"metadata": kwargs["metadata"]}
        if not item.choices:
            settings = dict(self.config.generation_kwargs or {})
            return Instance(request_type="generate_until", doc=doc, arguments=(ctx, settings), idx=0, **metadata)
        return [
            Instance(request_type="loglikelihood", doc=doc, arguments=(ctx, choice), idx=index, **metadata)
            for index, choice in enumerate(item.choices)
        ]

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, float]:
        """Return the metrics of an item; for a dialogue, their means over its turns."""
        item = item_of(doc)
        if item.choices:
            # Right if the gold choice has the highest log-likelihood per character (the harness's acc_norm).
            rates = [total / len(choice) for (total, _), choice in zip(results, item.choices, strict=True)]
            right = item.choices[rates.index(max(rates))] == item.gold
            turns = [Scored({"correct": float(right)} if "correct" in self.measures else {})]
        else:
            replies = json.loads(results[0]) if item.turns else [results[0]]
            turns = [self._scored(item, reply, replies[:turn]) for turn, reply in enumerate(replies)]
        self.scores[item.id] = turns
        # A metric may concern some turns only.
        names = dict.fromkeys(name for turn in turns for name in turn.metrics)
        return {name: fmean(turn.metrics[name] for turn in turns if name in turn.metrics) for name in names}

    def _scored(self, item: Item, reply: str, earlier: Sequence[str]) -> Scored:
        """Return the scores of a reply, given the replies before it to the item's own turns."""
        case = Case(
            said="\n".join([item.said, *item.turns[: len(earlier)]]),
            gold=item.gold,
            expects=item.expects,
            wanted=item.wanted,
            checks=item.checks,
            fields=item.fields,
            full_prompt=self.context.full_prompt,
            recipe_checks=self.context.checks,
            prescribed=self.context.prescribed,
            language=self.context.language,
            claim="" if earlier else item.claim,
            latest=[item.prompt, *item.turns][len(earlier)],
            previous=[*(turn.content for turn in item.before if turn.role == "assistant"), *earlier],
        )
        rules = {name: self.rules[name] for name in item.requirements if name in self.rules}
        return scored(reply, case, self.measures, rules)

"""The dataset's card: README.md as the Hugging Face hub reads it, its numbers, and the funnel as a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from tuning_room.checks import each
from tuning_room.dataset.config import DatasetConfig, DatasetResult
from tuning_room.dataset.statistics import FunnelStep, Statistics, statistics
from tuning_room.records import write_json

LONGEST = 40  # rows of a table
CARD, NUMBERS, FUNNEL = "README.md", "statistics.json", "funnel.svg"
WIDTH, EDGE, LONGEST_BAR, LINE = 820, 150, 400, 30  # pixels: the figure, its labels, its longest bar, a row
SIZES = {"n<1K": 10**3, "1K<n<10K": 10**4, "10K<n<100K": 10**5, "100K<n<1M": 10**6, "1M<n<10M": 10**7}


def describe(folder: Path, config: DatasetConfig, result: DatasetResult) -> None:
    """Write the card, the statistics and the funnel beside the rows in `folder`."""
    numbers = statistics([folder / "train.jsonl", folder / "valid.jsonl"], config, result)
    write_json(folder / NUMBERS, numbers.model_dump(mode="json"))
    (folder / FUNNEL).write_text(funnel_svg(numbers.funnel), encoding="utf-8")
    (folder / CARD).write_text(card(config, result, numbers), encoding="utf-8")


def card(config: DatasetConfig, result: DatasetResult, numbers: Statistics) -> str:
    """Return the card as markdown: what is in the dataset, what was left out and why."""
    front = yaml.safe_dump(front_matter(config, numbers), sort_keys=False, allow_unicode=True)
    taught = f"### By requirement\n{_table('requirement', numbers.requirements)}\n\n" if numbers.requirements else ""
    counts = taught + "\n\n".join(f"### By {name}\n{_table(name, counts)}" for name, counts in numbers.counts.items())
    return f"""---
{front}---
# Training data of {config.recipe}

Chat `messages`, one dialogue a line, with the short prompt as system turn: `{config.short_prompt}`

| file | dialogues |
| --- | --- |
| train.jsonl | {result.train} |
| valid.jsonl | {result.valid} |
| rejected.jsonl | {sum(result.rejected.values())} |

Train and valid share no drawn problem, no section of a document and no hand-written dialogue. Neither shares a problem
with the held-out items of the evaluation, by runs of words and by numbers and answer. Every row names its source.

## How it came to be
![Dialogues left after each step]({FUNNEL})

Checks that every reply passed: {", ".join(f"`{name}`" for name in config.checks) or "none"}.

### Rejected, by reason
{_table("reason", result.rejected)}

## Size
| replies in a dialogue | dialogues |
| --- | --- |
{_rows(numbers.replies)}

{_tokens(numbers)}

## Diversity
Of {numbers.diversity.replies:,} replies in {numbers.diversity.rows:,} dialogues. Compare only sets of one size.

| measure | value | |
| --- | --- | --- |
| distinct-1 | {numbers.diversity.distinct_1:.3f} | share of different words (Li et al. 2016) |
| distinct-2 | {numbers.diversity.distinct_2:.3f} | of pairs of words |
| distinct-3 | {numbers.diversity.distinct_3:.3f} | of runs of three |
| Self-BLEU-4 | {numbers.diversity.self_bleu_4:.3f} | each reply against the others, 1 is one reply (Zhu et al. 2018) |

## Accepted dialogues
{counts}

All of these numbers are in {NUMBERS}.
"""


def front_matter(config: DatasetConfig, numbers: Statistics) -> dict[str, object]:
    """Return the card's metadata, by which the hub and `datasets.load_dataset` find the splits."""
    codes = dict.fromkeys(given.get("code", "en") for name, given in each(config.checks) if name == "language")
    size = next((name for name, bound in SIZES.items() if numbers.rows < bound), "n>10M")
    splits = [{"split": "train", "path": "train.jsonl"}, {"split": "validation", "path": "valid.jsonl"}]
    return {
        "pretty_name": config.recipe,
        **({"language": list(codes)} if codes else {}),
        "task_categories": ["text-generation"],
        "size_categories": [size],
        "tags": ["prompt-distillation", "synthetic", "tuning-room"],
        # A split without rows cannot be loaded.
        "configs": [{"config_name": "default", "data_files": splits if numbers.funnel[-1].left else splits[:1]}],
    }


def _tokens(numbers: Statistics) -> str:
    if not numbers.tokens:
        return f"Tokens were not counted: {numbers.tokens_missing}."
    found = numbers.tokens
    return (
        f"Tokens under the chat template of `{found.model}`, system turn included, in {found.rows:,} dialogues: "
        f"mean {found.mean:.0f}, median {found.median:.0f}, 95 % at most {found.p95:.0f}, the longest {found.most:,}."
    )


def _table(head: str, counts: Mapping[str, int]) -> str:
    return "\n".join([f"| {head} | dialogues |", "| --- | --- |", _rows(counts)])


def _rows(counts: Mapping[str, int] | Mapping[int, int]) -> str:
    ordered = sorted(counts.items(), key=lambda kv: -kv[1])
    lines = [f"| {_cell(str(name))} | {count} |" for name, count in ordered[:LONGEST]]
    rest = ordered[LONGEST:]
    return "\n".join([*lines, *([f"| {len(rest)} others | {sum(n for _, n in rest)} |"] if rest else [])])


def _cell(label: str) -> str:
    # A label comes from the recipe or from a teacher, and may hold what ends a cell or a row.
    return " ".join(label.replace("|", "\\|").split()) or "-"


class FunnelBar(NamedTuple):
    """A step's bar; lengths in pixels, `before` is that of the step before it."""

    name: str
    left: int
    lost: str
    top: int
    length: float
    before: float
    kind: str


def bars(steps: list[FunnelStep]) -> list[FunnelBar]:
    """Return the bars in proportion to the first step; those of train and valid do not follow from one another."""
    whole = max(steps[0].left, 1)
    found: list[FunnelBar] = []
    for number, step in enumerate(steps):
        length = round(LONGEST_BAR * step.left / whole, 1)
        is_part = step.name.endswith(" rows")
        before = length if is_part or not found else found[-1].length
        lost = ", ".join(f"-{count:,} {reason}" for reason, count in step.rejected.items())
        found.append(
            FunnelBar(step.name, step.left, lost, 8 + number * LINE, length, before, "part" if is_part else "left")
        )
    return found


def funnel_svg(steps: list[FunnelStep]) -> str:
    """Return the funnel, the number of dialogues left after each step, as SVG."""
    from jinja2 import Environment, FileSystemLoader

    drawn = bars(steps)
    # A check's name comes from a recipe or a plug-in.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("funnel.svg.j2")
    return template.render(bars=drawn, width=WIDTH, edge=EDGE, height=16 + len(drawn) * LINE)

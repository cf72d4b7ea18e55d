"""The dataset's card."""

from typing import TYPE_CHECKING

from tuning_room.dataset.config import DatasetConfig

if TYPE_CHECKING:
    from tuning_room.dataset import DatasetResult


def card(config: DatasetConfig, result: "DatasetResult") -> str:
    """Return the card as markdown: what is in the dataset, and what was left out and why."""
    return f"""# Training data of {config.recipe}

Chat `messages`, one dialogue a line, with the short prompt as system turn: `{config.short_prompt}`

| file | dialogues |
| --- | --- |
| train.jsonl | {result.train} |
| valid.jsonl | {result.valid} |
| rejected.jsonl | {sum(result.rejected.values())} |

Train and valid share no drawn problem, no section of a document and no hand-written dialogue. Neither shares a problem
with the held-out items of the evaluation, by runs of words and by numbers and answer.

## Rejected, by reason
{_table("reason", result.rejected)}

## Accepted, by topic
{_table("topic", result.topics)}

## Accepted, by situation
{_table("situation", result.situations)}

Checks: {", ".join(f"`{name}`" for name in config.checks) or "none"}. Every row names its source.
"""


def _table(head: str, counts: dict[str, int]) -> str:
    rows = [f"| {name or '-'} | {count} |" for name, count in sorted(counts.items(), key=lambda kv: -kv[1])]
    return "\n".join([f"| {head} | dialogues |", "| --- | --- |", *rows])

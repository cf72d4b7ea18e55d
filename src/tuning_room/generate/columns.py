"""Columns: what differs from row to row, such as who writes and how hard it is; drawn by weight under a random seed."""

import random
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tuning_room.generate.rule_files import read_checked

SHIPPED = Path(__file__).parent / "flows" / "columns.yaml"
PUSH = "push"  # drawn for each further message of a user; the other columns are drawn once a dialogue


class ColumnOption(BaseModel):
    """One value of a column: `weight` decides its share of the rows, `text` is what a prompt says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: float = Field(1, gt=0)
    text: str = ""


Column = Annotated[dict[str, ColumnOption], Field(min_length=1)]
Columns = dict[str, dict[str, ColumnOption]]
COLUMNS = TypeAdapter(Annotated[dict[Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")], Column], Field(min_length=1)])


class Draw(NamedTuple):
    """What was drawn from a column: the option's name, and its text."""

    name: str
    text: str


def load_columns(own: Path | None = None) -> Columns:
    """Return the shipped columns, replaced by those of a recipe's own YAML file; RecipeError names the field."""
    files = [SHIPPED, *([own] if own else [])]
    return {
        name: column for file in files for name, column in read_checked(file, COLUMNS, "see docs/generate.md").items()
    }


def draw(columns: Columns, column: str, key: str) -> Draw:
    """Return an option drawn by weight; the same key always draws the same one, whatever other columns there are."""
    options = columns[column]
    rng = random.Random(f"{column}/{key}")
    name = rng.choices(list(options), [option.weight for option in options.values()])[0]
    return Draw(name, options[name].text.strip())

"""Print how many items show a bound, and how often a rate alone passes: python scripts/items_for_a_bound.py [--json]

A gate with `by: bound` is met if the lower end of Wilson's 95 % interval (1927) reaches the bound. For each true rate
and bound this prints the number of items from which on that happens in four of five evaluations. Below it: how often a
model of some true rate meets a gate on the rate itself, and one on the bound.
"""

import argparse
import json
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

BOUNDS, RATES = (0.8, 0.9, 0.95), (0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0)
POWER, MOST = 0.8, 2500
EXAMPLES = ((36, 0.93), (68, 0.93), (425, 0.93), (68, 0.97), (425, 0.97))  # items and true rate, held to 0.95


@cache
def fewest_right(bound: float, items: int) -> int:
    """Return the smallest number of right items whose interval reaches the bound, or one more than all of them."""
    low = proportion_confint(np.arange(items + 1), items, alpha=0.05, method="wilson")[0]
    return int(np.argmax(low >= bound)) if low[-1] >= bound else items + 1


def shown(bound: float, rate: float, items: int) -> float:
    """Return how often a model of this true rate meets a gate on the bound."""
    return float(binom.sf(fewest_right(bound, items) - 1, items, rate))


def passes(bound: float, rate: float, items: int) -> float:
    """Return how often a model of this true rate meets a gate on the rate."""
    return float(binom.sf(math.ceil(round(bound * items, 9)) - 1, items, rate))


def items_needed(bound: float, rate: float) -> int | None:
    """Return the number of items from which on the bound is shown in four of five evaluations; None beyond 2,500."""
    if rate <= bound:
        return None
    missed = [items for items in range(1, MOST + 1) if shown(bound, rate, items) < POWER]
    return missed[-1] + 1 if missed[-1] < MOST else None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print both tables, or one JSON object."""
    parser = argparse.ArgumentParser(description="Print how many items show a bound.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    needed = {rate: {bound: items_needed(bound, rate) for bound in BOUNDS} for rate in RATES}
    luck = [(items, rate, passes(0.95, rate, items), shown(0.95, rate, items)) for items, rate in EXAMPLES]
    if parser.parse_args().json:
        print(json.dumps({"needed": needed, "passes": luck}))
        return
    cells = [
        [f"{rate:.0%}", *(f"{count:,}" if count else "-" for count in row.values())] for rate, row in needed.items()
    ]
    print(table(["true rate", *(f"at least {bound:.0%}" for bound in BOUNDS)], cells))
    print()
    chances = [
        [f"{items}", f"{rate:.0%}", f"{by_rate:.0%}", f"{by_bound:.1%}"] for items, rate, by_rate, by_bound in luck
    ]
    print(table(["items", "true rate", "meets `at_least: 0.95`", "meets it `by: bound`"], chances))


if __name__ == "__main__":
    main()

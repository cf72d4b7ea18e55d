"""How a gold answer in school notation is compared with the SymPy expression that checks it."""

import json
import re
from typing import Any

import sympy
from sympy.parsing.sympy_parser import (
    convert_xor,
    implicit_multiplication,
    parse_expr,
    standard_transformations,
)

from tuning_room.records import Item

SYMBOLS = {name: sympy.Symbol(name) for name in ("x", "y", "t", "a", "b", "n", "C")}
SCHOOL = (*standard_transformations, convert_xor, implicit_multiplication)


def has_the_right_gold(item: Item) -> bool:
    """Say whether an item's gold answer is what its check computes."""
    return is_same(computed(item.check), gold_value(item.gold))


def computed(check: str) -> Any:
    """Return the value of a check."""
    names = {**vars(sympy), **SYMBOLS}
    return parse_expr(check, local_dict={}, global_dict=names, transformations=standard_transformations)


def term(text: str) -> Any:
    """Read a term in school notation; only what stands behind the last '='."""
    names = {**SYMBOLS, "e": sympy.E, "pi": sympy.pi}
    return parse_expr(re.split(r"(?<![<>])= ", text)[-1], local_dict=names, transformations=SCHOOL)


def gold_value(gold: str) -> Any:
    """Read a gold answer: a term, a point, a matrix, a relation or a set of solutions."""
    text = gold.removesuffix("%").strip()
    if " or " in text:
        return sympy.FiniteSet(*map(term, text.split(" or ")))
    if text.startswith("[["):
        return sympy.Matrix(json.loads(text))
    if text.startswith("(") and "," in text:
        return sympy.Tuple(*map(term, text[1:-1].split(",")))
    return sympy.nsimplify(term(text), rational=True) if re.fullmatch(r"[-\d.]+", text) else term(text)


def is_same(left: Any, right: Any) -> bool:
    """Say whether two values are equal, entry by entry where they have entries."""
    if isinstance(left, sympy.Tuple | tuple):
        return len(left) == len(right) and all(map(is_same, left, right))
    if isinstance(left, sympy.MatrixBase | sympy.Set | sympy.Rel):
        return bool(left == right)
    return bool(sympy.simplify(left - right) == 0)

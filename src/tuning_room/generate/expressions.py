"""Arithmetic in recipe files: SymPy expressions written as text, evaluated without running the recipe's code."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import CodeType
from typing import Any

from tuning_room.bounded import OutOfTime
from tuning_room.errors import LimitError, RecipeError

FUNCTIONS = (
    "Rational sqrt pi gcd lcm factorial binomial Eq Ne Lt Gt Le Ge Mod Abs diff integrate expand factor Max Min floor "
    "ceiling exp log sin cos simplify Integer"
).split()
CONSTANTS = ("pi",)
SYMBOLS = ("x", "y", "z", "n", "t")
_ALLOWED = (
    ast.Expression | ast.BinOp | ast.UnaryOp | ast.Call | ast.Name | ast.Load | ast.Constant | ast.Tuple | ast.List
    | ast.Add | ast.Sub | ast.Mult | ast.Div | ast.FloorDiv | ast.Mod | ast.Pow | ast.UAdd | ast.USub
)  # fmt: skip

# Recipes come from strangers too: 9**9**9 must not stop the machine. No problem meant for people is this large.
LONGEST = 500  # characters of an expression
LONGEST_VALUE = 5000  # characters of a value
BITS = 4096  # of a number
DEGREE = 500  # of a power
SUM_DEGREE = 20  # of a power of a sum, which may be expanded
LARGEST = {"factorial": 500, "binomial": 500, "exp": 500, "diff": 20}  # numbers that these functions take


@cache
def _namespace() -> dict[str, Any]:
    import sympy

    names = {name: getattr(sympy, name) for name in FUNCTIONS} | {s: sympy.Symbol(s) for s in SYMBOLS}
    return names | {name: _limited(names[name], limit) for name, limit in LARGEST.items()} | {"_power": _power}


def _limited(function: Callable[..., Any], limit: int) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        if any(value.is_number and abs(value) > limit for value in _leaves(arguments)):
            raise OverflowError(f"a number above {limit} in {function.__name__}")
        return function(*arguments)

    return call


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _leaves(value)
        else:
            yield value


def _power(base: Any, exponent: Any) -> Any:
    import sympy

    if exponent.is_Rational and base.is_Rational and abs(exponent) * _bits(base) > BITS:
        raise OverflowError("a power that is too large")
    power = base**exponent
    for part in () if power.is_Rational else power.atoms(sympy.Pow):
        inner, degree = part.as_base_exp()
        if degree.is_Rational and abs(degree) > (SUM_DEGREE if inner.is_Add else DEGREE):
            raise OverflowError(f"a power of {degree}")
    return power


def _bits(number: Any) -> int:
    return max(int(number.p).bit_length(), int(number.q).bit_length()) if number.is_Rational else 0


class _Guarded(ast.NodeTransformer):
    """Makes 1/2 a fraction and 0.1 a tenth, and has every power look at its size first."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        name = "Integer" if isinstance(node.value, int) else "Rational"
        value = node.value if isinstance(node.value, int) else str(node.value)
        call = ast.Call(ast.Name(name, ast.Load()), [ast.Constant(value)], [])
        return ast.copy_location(call, node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        return ast.copy_location(ast.Call(ast.Name("_power", ast.Load()), [node.left, node.right], []), node)


@cache
def _compiled(expression: str) -> CodeType:
    if len(expression) > LONGEST:
        raise RecipeError(f"expression '{expression[:40]}...': too long", hint=f"use at most {LONGEST} characters")
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", "") or "not an expression"
        raise RecipeError(f"expression '{expression}': {reason}", hint="write it as in Python") from None
    for node in ast.walk(tree):
        _check(node, expression)
    return compile(ast.fix_missing_locations(_Guarded().visit(tree)), "<recipe>", "eval")


def _check(node: ast.AST, expression: str) -> None:
    number = not isinstance(node, ast.Constant) or isinstance(node.value, int | float)
    if not isinstance(node, _ALLOWED) or not number or (isinstance(node, ast.Call) and node.keywords):
        raise RecipeError(
            f"expression '{expression}': only arithmetic and {', '.join(FUNCTIONS)}", hint="use only these"
        )
    name = getattr(node.func if isinstance(node, ast.Call) else node, "id", "")
    if name.startswith("_") or (isinstance(node, ast.Call) and name not in FUNCTIONS):
        raise RecipeError(f"expression '{expression}': no such function", hint=f"use {', '.join(FUNCTIONS)}")


def evaluate(expression: str | int | float, values: Mapping[str, Any]) -> Any:
    """Return a SymPy value of an expression over named values; RecipeError says what is wrong with it."""
    code = _compiled(str(expression))
    # A text among the values would be code for SymPy, which evaluates the texts that it is given.
    numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
    try:
        # The names are all there is: the tree was checked to hold arithmetic and calls of FUNCTIONS alone.
        value = eval(code, {"__builtins__": {}}, {**_namespace(), **numbers})  # noqa: S307
        _check_value(value)
    except (OutOfTime, MemoryError) as error:
        raise LimitError(f"expression '{expression}': {str(error) or 'takes too much memory'}") from None
    except (NameError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError) as error:
        raise RecipeError(f"expression '{expression}': {error}", hint="name only the family's parameters") from None
    return value


def _check_value(value: Any) -> None:
    import sympy

    for part in _leaves([value]):
        if not isinstance(part, sympy.Basic):
            raise TypeError("a function without its arguments")
        if part.is_number and _bits(part) > BITS:
            raise OverflowError("a number that is too large")


def written(value: Any) -> str:
    """Return a value as people write it: 3x^2 - 4, 3/4, 2sqrt(5), 2*3^x; RecipeError if it is not a number."""
    text = str(value)
    if len(text) > LONGEST_VALUE:
        raise RecipeError(f"an expression has a value of {len(text)} characters", hint="make it simpler")
    if re.search(r"\b(?:zoo|nan)\b", text):
        raise RecipeError("an expression divides by zero", hint="exclude such draws under 'require'")
    return re.sub(r"(?<!\d)\*|\*(?!\d)", "", text.replace("**", "^"))

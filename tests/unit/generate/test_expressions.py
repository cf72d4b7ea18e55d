"""The arithmetic of recipe files: exact values, and no way to run code, hang or blow up by it.

Real here: SymPy and Python's own parser. The bounds on time are generous, since other work may share the machine;
SymPy's symbolic functions (integrate, simplify) on an expression made to be hard are not bounded, and not tested.
"""

import ast
import time
from fractions import Fraction
from pathlib import Path

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room.errors import RecipeError
from tuning_room.generate.expressions import FUNCTIONS, SYMBOLS, evaluate, written

SMUGGLED = [
    "x.__class__",
    "(1).__class__.__mro__",
    "x[0]",
    "[1, 2][0]",
    "open(1)",
    "eval(1)",
    "sympify(1)",
    "__import__(1)",
    "sqrt(4).evalf()",
    "__builtins__",
    "sqrt(__builtins__)",
    "_power(2, 3)",
    "lambda: 1",
    "(lambda q: q)(1)",
    "[q for q in (1, 2)]",
    "(q := 1)",
    "1 if x else 2",
    "sqrt(*[4])",
    "Max(**{})",
    "{1: 2}",
    "'text'",
    "f'{x}'",
    "simplify('1')",
    "b'1'",
    "1j",
    "...",
    "None",
    "x; y",
    "import os",
    "await x",
    "yield x",
    "sqrt",
    "[sqrt]",
    "Eq(1)(2)",
    "x(2)",
    "1 << 99999999999",
    "~1",
    "not 1",
    "x < 1",
    "x and y",
    "x @ y",
    "\0",
    "",
    " 1",
]
HUGE = [
    "9**9**9",
    "9.0**9**9",
    "2**10**8",
    "(9**9)**(9**9)",
    "9**(9**9 + 1/2)",
    "2**-(10**9)",
    "factorial(10**7)",
    "factorial(factorial(7))",
    "binomial(10**7, 5*10**6)",
    "floor(exp(10**6))",
    "floor(pi**(20**6))",
    "floor((((pi**20)**20)**20)**20)",
    "expand((x + y)**3000)",
    "expand(((x + y)**20)**20)",
    "expand((x*(y + z)**20)**20)",
    "diff(exp(x**2), x, 10**6)",
    "diff(exp(x**2), (x, 10**6))",
    "*".join(["10**1000"] * 50),
    "9" * 5000,
    "(" * 300 + "1" + ")" * 300,
    "-" * 30000 + "1",
]


@pytest.mark.parametrize("expression", SMUGGLED)
def test_what_is_no_arithmetic_is_refused(expression: str) -> None:
    with pytest.raises(RecipeError):
        evaluate(expression, {"a": sympy.Integer(3)})


@pytest.mark.parametrize("expression", HUGE, ids=lambda text: text[:30])
def test_what_is_too_large_is_refused_at_once(expression: str) -> None:
    started = time.monotonic()
    with pytest.raises(RecipeError):
        evaluate(expression, {})
    assert time.monotonic() - started < 5


def test_a_text_among_the_values_is_never_evaluated(tmp_path: Path) -> None:
    target = tmp_path / "made"
    text = f"open({str(target)!r}, 'w')"
    for function in ("simplify", "sqrt", "factor", "Integer", "expand", "Max", "Eq"):
        with pytest.raises(RecipeError):
            evaluate(f"{function}(thing)", {"thing": text})
        with pytest.raises(RecipeError):
            evaluate(f"{function}(thing, thing)", {"thing": text})
    assert not target.exists()


def trees() -> st.SearchStrategy[str]:
    atoms = st.one_of(
        st.integers(-30, 30).map(str),
        st.sampled_from(["0.5", "1.25", "a", "b", *SYMBOLS, "q", "__class__", "os", "sqrt", "'s'"]),
    )
    calls = st.sampled_from([*FUNCTIONS, "open", "__import__", "getattr"])

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<<", "|", "<", "and", "@"])
        return st.one_of(
            st.tuples(inner, operators, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            st.tuples(calls, inner).map(lambda t: f"{t[0]}({t[1]})"),
            inner.map(lambda text: f"{text}.args"),
            inner.map(lambda text: f"{text}[0]"),
            inner.map(lambda text: f"(-{text})"),
            inner.map(lambda text: f"(lambda: {text})"),
        )

    return st.recursive(atoms, grow, max_leaves=5)


ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Load, ast.Constant)


@settings(max_examples=300, deadline=None)
@given(trees())
def test_any_expression_has_a_value_of_sympy_or_is_a_recipe_error(expression: str) -> None:
    try:
        value = evaluate(expression, {"a": sympy.Integer(3), "b": sympy.Rational(1, 2)})
    except RecipeError as error:
        assert error.hint
        return
    assert isinstance(value, sympy.Basic)
    nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    assert not any(isinstance(node, ast.Attribute | ast.Subscript | ast.Lambda) for node in nodes)
    assert {node.func.id for node in nodes if isinstance(node, ast.Call)} <= set(FUNCTIONS)  # type: ignore[attr-defined]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_has_a_value_or_is_a_recipe_error(text: str) -> None:
    try:
        assert isinstance(evaluate(text, {}), sympy.Basic | tuple | list)
    except RecipeError:
        return


@settings(max_examples=100, deadline=None)
@given(st.integers(-999, 999), st.integers(1, 99), st.integers(1, 99))
def test_arithmetic_is_exact(a: int, b: int, c: int) -> None:
    values = {"a": sympy.Integer(a), "b": sympy.Integer(b), "c": sympy.Integer(c)}
    expected = Fraction(a, b) + Fraction(1, 10) * c - a**3
    got = evaluate("a/b + 0.1*c - a**3", values)
    assert Fraction(int(got.p), int(got.q)) == expected
    assert written(got) == str(expected)


def test_parameters_may_have_the_names_of_symbols_and_functions() -> None:
    values = {"x": sympy.Integer(2), "exp": sympy.Integer(5)}
    assert evaluate("x**exp", values) == 32
    with pytest.raises(RecipeError):
        evaluate("exp(2)", values)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("3*x**2 - 4", "3x^2 - 4"),
        ("3/4", "3/4"),
        ("sqrt(20)", "2sqrt(5)"),
        ("(x + 1)*(x + 2)", "(x + 1)(x + 2)"),
        ("7*x**1", "7x"),
        # Without a sign between two numbers they would read as one.
        ("2*3**x", "2*3^x"),
        ("5*10**n", "5*10^n"),
    ],
)
def test_values_are_written_as_people_write_them(expression: str, text: str) -> None:
    assert written(evaluate(expression, {})) == text


@pytest.mark.parametrize("expression", ["1/0", "0/0", "Rational(1, 0)", "[1, 1/0]", "factorial(-1)"])
def test_what_is_no_number_is_not_written(expression: str) -> None:
    with pytest.raises(RecipeError, match="divides by zero"):
        written(evaluate(expression, {}))

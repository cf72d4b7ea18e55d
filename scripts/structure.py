"""Measure how a package is built: python scripts/structure.py [FOLDER ...] [--json]

One column a package; without a folder, src/tuning_room. Any installed package can stand beside it:
`python scripts/structure.py src/tuning_room .venv/lib/python3.11/site-packages/httpx`. What is counted:

- lines: of the files, blank ones and comments too. A function's length runs from `def` to its last line, with its
  docstring, without its decorators; methods and inner functions count. p90: nine in ten are not longer.
- module depth: the number of modules on the longest chain of imports between the package's own modules; those in a
  circle count as one. Once over imports at the top of modules, once with those inside functions, and with names
  given to `import_module`. What stands under `if TYPE_CHECKING:` is never run and adds no depth.
- `Any`: functions in whose annotations it stands, anywhere, of all functions.
- small modules with one importer: under 70 lines, imported by one module of the package, in the same room. A room is
  a folder directly beneath the package, or the package itself. `__init__.py`, `config.py` and the modules of `cli`
  that define a `command` are left out.
- private functions used once: those with one leading underscore to which one place refers, by name, in their module
  or by importing them from it. A function that refers to itself does not use itself.
- comment lines: lines that hold nothing else.
- circles: groups of modules that import each other in a ring, for types only or in earnest. Behind `__init__`: those
  with a package's `__init__` in the ring; to import `a.b` from outside `a` runs `a/__init__.py` and counts here.
- class names defined twice: at the top of more than one module.
"""

import argparse
import ast
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SMALL = 70  # lines
OURS = Path(__file__).parents[1] / "src" / "tuning_room"
Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = dict[str, set[str]]


class Module(NamedTuple):
    """A file of the package: its dotted name, its path beneath the package, its text and tree."""

    name: str
    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder beneath the package that it lies in; '' for the package itself."""
        return self.path.split("/")[0] if "/" in self.path else ""

    @property
    def lines(self) -> int:
        """The number of its lines."""
        return len(self.text.splitlines())

    @property
    def functions(self) -> list[Function]:
        """All its functions, methods and inner ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]


class Import(NamedTuple):
    """One module of the package imports another: where the statement stands, and which private names it brings."""

    importer: str
    imported: str
    place: str  # 'top', 'inner' or 'typing'
    private: tuple[str, ...] = ()


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure how a package is built.")
    parser.add_argument("folders", nargs="*", type=Path, default=[OURS], help="packages; default: src/tuning_room")
    parser.add_argument("--json", action="store_true", help="print JSON, with every name found")
    arguments = parser.parse_args()
    if empty := [str(folder) for folder in arguments.folders if not any(folder.rglob("*.py"))]:
        parser.error(f"no Python file in {', '.join(empty)}")
    found = {folder.resolve().name: measured(folder) for folder in arguments.folders}
    print(json.dumps(found, indent=1) if arguments.json else table(found))
    return 0


def measured(folder: Path) -> dict[str, object]:
    """Return the figures of the package in a folder, and the names behind those that should be nought."""
    modules = read(folder)
    imports = [one for module in modules.values() for one in imports_of(module, modules)]
    functions = [function for module in modules.values() for function in module.functions]
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)
    lines = sum(module.lines for module in modules.values())
    run, known = graph(imports, "top", "inner"), graph(imports, "top", "inner", "typing")
    packages = {module.name for module in modules.values() if module.path.endswith("__init__.py")}
    private, once = private_functions(modules, imports)
    return {
        "files": len(modules),
        "lines": lines,
        "functions": len(functions),
        "function_lines_median": rank(lengths, 0.5),
        "function_lines_p90": rank(lengths, 0.9),
        "depth_top": depth(graph(imports, "top")),
        "depth": depth(run),
        "any_percent": percent(sum(map(has_any, functions)), len(functions)),
        "comment_percent": percent(sum(map(comment_lines, modules.values())), lines),
        "private_functions": private,
        "private_used_once": once,
        "one_importer": sum(len(who) == 1 for who in importers(imports).values()),
        "small_one_importer": small_with_one_importer(modules, imports),
        "circles": [ring for ring in rings(known) if not packages.intersection(ring)],
        "circles_behind_init": [r for r in rings(with_parents(known, modules)) if packages.intersection(r)],
        "classes_twice": classes_twice(modules),
    }


def read(folder: Path) -> dict[str, Module]:
    """Return the modules of the package in a folder, by their dotted names."""
    folder = folder.resolve()
    modules = {}
    for file in sorted(folder.rglob("*.py")):
        path = file.relative_to(folder)
        parts = [folder.name, *path.with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = file.read_text(encoding="utf-8")
        modules[name] = Module(name, path.as_posix(), text, ast.parse(text, filename=str(file)))
    return modules


def imports_of(module: Module, modules: dict[str, Module]) -> Iterator[Import]:
    """Yield what a module imports of the package's own modules."""
    for node, place in _with_places(module.tree, "top"):
        for dotted in _dotted(node, module):
            target = dotted if dotted in modules else dotted.rpartition(".")[0]
            if target in modules and target != module.name:
                last = dotted.rpartition(".")[2]
                private = (last,) if target != dotted and last.startswith("_") else ()
                yield Import(module.name, target, place, private)


def _with_places(node: ast.AST, place: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield all nodes beneath one with where they stand: at the top, inside a function, or for type checkers only."""
    for child in ast.iter_child_nodes(node):
        inside = place
        if isinstance(child, Function | ast.Lambda) and place == "top":
            inside = "inner"
        yield child, inside
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield statement, "typing"
            for statement in child.orelse:
                yield statement, inside
                yield from _with_places(statement, inside)
        else:
            yield from _with_places(child, inside)


def _dotted(node: ast.AST, module: Module) -> Iterator[str]:
    """Yield the dotted names that a statement or a call of import_module imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = module.name.split(".") + (["__init__"] if module.path.endswith("__init__.py") else [])
        above = package[: len(package) - node.level] if node.level else []
        base = ".".join([*above, *filter(None, [node.module])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def graph(imports: Iterable[Import], *places: str) -> Graph:
    """Return who imports whom, of the imports that stand in some places."""
    edges: Graph = defaultdict(set)
    for one in imports:
        if one.place in places:
            edges[one.importer].add(one.imported)
    return edges


def with_parents(edges: Graph, modules: dict[str, Module]) -> Graph:
    """Return the imports with those of the packages around each imported module that its importer has not run yet."""
    wider: Graph = {name: set(targets) for name, targets in edges.items()}
    for name, targets in edges.items():
        for target in targets:
            parents = {target.rsplit(".", count)[0] for count in range(1, target.count(".") + 1)}
            wider[name] |= {p for p in parents & set(modules) if not f"{name}.".startswith(f"{p}.")}
    return wider


def components(edges: Graph) -> list[list[str]]:
    """Return the groups of modules that reach each other, the imported before their importers (Tarjan 1972)."""
    found: list[list[str]] = []
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in sorted(edges.get(name, ())):
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            start = stack.index(name)
            found.append(sorted(stack[start:]))
            del stack[start:]

    for name in sorted({*edges, *(target for targets in edges.values() for target in targets)}):
        if name not in order:
            visit(name)
    return found


def rings(edges: Graph) -> list[list[str]]:
    """Return the groups of more than one module that import each other in a ring."""
    return sorted(group for group in components(edges) if len(group) > 1)


def depth(edges: Graph) -> int:
    """Return the number of modules on the longest chain of imports; a circle counts as one."""
    groups = components(edges)
    home = {name: number for number, group in enumerate(groups) for name in group}
    longest: list[int] = []
    for number, group in enumerate(groups):
        beneath = {home[target] for name in group for target in edges.get(name, ())} - {number}
        longest.append(1 + max((longest[other] for other in beneath), default=0))
    return max(longest, default=1)


def has_any(function: Function) -> bool:
    """Return whether `Any` stands in a function's own annotations."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [one.annotation for one in every if one] + [function.returns]
    return any(re.search(r"\bAny\b", ast.unparse(one)) for one in annotations if one)


def comment_lines(module: Module) -> int:
    """Return the number of lines that hold nothing but a comment; one inside a string is none."""
    strings = {
        number
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant | ast.JoinedStr) and (node.end_lineno or 0) > node.lineno
        for number in range(node.lineno + 1, (node.end_lineno or 0) + 1)
    }
    lines = enumerate(module.text.splitlines(), start=1)
    return sum(line.lstrip().startswith("#") and number not in strings for number, line in lines)


def private_functions(modules: dict[str, Module], imports: Iterable[Import]) -> tuple[int, int]:
    """Return the number of private functions, and of those that one place refers to."""
    brought = Counter((one.imported, name) for one in imports for name in one.private)
    count = once = 0
    for module in modules.values():
        references = Counter(_references(module.tree))
        for function in module.functions:
            name = function.name
            if name.startswith("_") and not name.startswith("__"):
                own = Counter(_references(function))[name]
                count += 1
                once += references[name] - own + brought[module.name, name] == 1
    return count, once


def _references(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Name):
            yield child.id
        elif isinstance(child, ast.Attribute):
            yield child.attr


def small_with_one_importer(modules: dict[str, Module], imports: Iterable[Import]) -> list[str]:
    """Return the small modules that one module of their own room imports, and nobody else, each with its lines."""
    single = {name: next(iter(who)) for name, who in importers(imports).items() if len(who) == 1}
    pairs = ((modules[name], modules[importer]) for name, importer in sorted(single.items()))
    return [
        f"{module.path} ({module.lines} lines, for {importer.path})"
        for module, importer in pairs
        if module.lines < SMALL and importer.room == module.room and not _stands_alone(module)
    ]


def importers(imports: Iterable[Import]) -> dict[str, set[str]]:
    """Return by whom each module is imported."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in imports:
        found[one.imported].add(one.importer)
    return found


def _stands_alone(module: Module) -> bool:
    """Return whether a module has its place by its role, however small it is."""
    command = module.room == "cli" and any(getattr(node, "name", "") == "command" for node in module.tree.body)
    return command or Path(module.path).name in {"__init__.py", "config.py"}


def classes_twice(modules: dict[str, Module]) -> dict[str, list[str]]:
    """Return the names of classes that are defined in more than one module, and where."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules.values():
        for name in sorted({node.name for node in module.tree.body if isinstance(node, ast.ClassDef)}):
            places[name].append(module.path)
    return {name: paths for name, paths in sorted(places.items()) if len(paths) > 1}


def rank(ordered: list[int], share: float) -> int:
    """Return the value that a share of the ordered values does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0


def percent(part: int, whole: int) -> float:
    """Return a part in per cent of the whole, to one place."""
    return round(100 * part / whole, 1) if whole else 0.0


ROWS = {
    "files": "files",
    "lines": "lines",
    "functions": "functions",
    "function_lines_median": "lines of a function, median",
    "function_lines_p90": "lines of a function, p90",
    "depth_top": "module depth, imports at the top",
    "depth": "module depth, all imports",
    "any_percent": "functions with Any, %",
    "comment_percent": "comment lines, %",
    "private_functions": "private functions",
    "private_used_once": "private functions used once",
    "one_importer": "modules with one importer",
    "small_one_importer": f"modules under {SMALL} lines, one importer in their room",
    "circles": "import circles",
    "circles_behind_init": "import circles behind __init__",
    "classes_twice": "class names defined twice",
}


def table(found: dict[str, dict[str, object]]) -> str:
    """Return the figures as a table, and beneath it the names behind those of the first package."""
    cells = {
        title: [str(len(v) if isinstance(v := figures[key], list | dict) else v) for figures in found.values()]
        for key, title in ROWS.items()
    }
    left = max(map(len, cells))
    widths = [max(len(name), *(len(row[i]) for row in cells.values())) for i, name in enumerate(found)]
    lines = [" " * left + "".join(f"  {name:>{width}}" for name, width in zip(found, widths, strict=True))]
    for title, row in cells.items():
        lines.append(f"{title:<{left}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(row, widths, strict=True)))
    first = next(iter(found.values()))
    for key, title in ROWS.items():
        lines += [f"\n{title}:", *names] if (names := list(_names(first[key]))) else []
    return "\n".join(lines)


def _names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"  {name}: {', '.join(paths)}" for name, paths in value.items())
    elif isinstance(value, list):
        yield from (f"  {', '.join(one) if isinstance(one, list) else one}" for one in value)


if __name__ == "__main__":
    sys.exit(main())

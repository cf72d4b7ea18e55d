"""Checks and metrics that installed packages offer: entry points in `tuning_room.checks` and `tuning_room.metrics`.

No package is imported before a recipe names something that it offers.
"""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tuning_room.errors import RecipeError

Kind = Literal["check", "metric"]


def offered(kind: Kind) -> list[str]:
    """Return the names that installed packages offer."""
    return sorted({entry.name for entry in entry_points(group=f"tuning_room.{kind}s")})


def entry_point(kind: Kind, name: str) -> EntryPoint | None:
    """Return the entry point of a name, None if no package offers it; RecipeError if several do."""
    found = list(entry_points(group=f"tuning_room.{kind}s", name=name))
    if len(found) > 1:
        places = ", ".join(entry.value for entry in found)
        raise RecipeError(f"{kind} '{name}': several packages offer it ({places})", hint="uninstall all but one")
    return found[0] if found else None


def loaded(kind: Kind, entry: EntryPoint) -> object:
    """Import what an entry point names; RecipeError if that fails."""
    try:
        return entry.load()
    except Exception as error:
        raise unusable(kind, entry, f"cannot be loaded: {error}") from error


def unusable(kind: Kind, entry: EntryPoint, why: str) -> RecipeError:
    """Return the error for a plug-in that does not do what it should."""
    return RecipeError(
        f"{kind} '{entry.name}' of the plug-in {entry.value}: {why}",
        hint=f"correct the plug-in or its parameters, or leave the {kind} out",
    )


def source_files(kind: Kind, names: Iterable[str]) -> list[Path]:
    """Return the packages, or single modules, of the plug-ins with some names: results depend on their content."""
    found = []
    for name in names:
        if entry := entry_point(kind, name):
            spec = find_spec(entry.module.partition(".")[0])
            if spec is None:
                raise unusable(kind, entry, "cannot be loaded: the module is not there")
            places = spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
            found += [Path(place) for place in places]
    return list(dict.fromkeys(found))

"""Checks that installed packages offer, under the entry point group `tuning_room.checks`."""

from functools import cache, wraps
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tuning_room.checks.exchange import Check, Exchange
from tuning_room.errors import RecipeError

GROUP = "tuning_room.checks"


def offered() -> list[str]:
    """Return the names of the checks that installed packages offer."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@cache
def plugin(name: str) -> Check | None:
    """Return a check of an installed package, none if no package offers it.

    Nothing of a package is imported before a recipe names its check. Raises RecipeError for one that cannot be used.
    """
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        return None
    if len(found) > 1:
        places = ", ".join(entry.value for entry in found)
        raise RecipeError(f"check '{name}': several packages offer it ({places})", hint="uninstall all but one")
    return _guarded(found[0])


def _guarded(entry: EntryPoint) -> Check:
    check = _loaded(entry)

    @wraps(check)
    def guarded(exchange: Exchange, **parameters: Any) -> str:
        """Call the check; what goes wrong in it is said with its name."""
        try:
            reason = check(exchange, **parameters)
        except Exception as error:
            raise _unusable(entry, f"{type(error).__name__}: {error}") from error
        if not isinstance(reason, str):
            raise _unusable(entry, f"returned {reason!r}, not a reason as text")
        return reason

    return guarded


def _loaded(entry: EntryPoint) -> Check:
    try:
        check: Check = entry.load()
    except Exception as error:
        raise _unusable(entry, f"cannot be loaded: {error}") from error
    return check


def _unusable(entry: EntryPoint, why: str) -> RecipeError:
    return RecipeError(
        f"check '{entry.name}' of the plug-in {entry.value}: {why}",
        hint="mend the plug-in or its parameters, or leave the check out",
    )

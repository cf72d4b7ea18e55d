"""Tuning Room bakes a system prompt into a LoRA adapter, proves that it worked, and ships it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning_room.recipe import Done, Recipe, bake, load_recipe, run_stage
    from tuning_room.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["Done", "Recipe", "Workspace", "bake", "load_recipe", "run_stage"]


def __getattr__(name: str) -> Any:
    # Importing the package stays cheap: `tuning-room --help` needs nothing of it.
    if name == "Workspace":
        from tuning_room.workspace import Workspace

        return Workspace
    if name in __all__:
        import tuning_room.recipe

        return getattr(tuning_room.recipe, name)
    raise AttributeError(f"module 'tuning_room' has no attribute '{name}'")

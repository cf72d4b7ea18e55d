"""Paths in a recipe: a field's own type says that its path lies beside the recipe, and what has to be there.

A recipe is validated with a context that holds its folder. A config that is built without one (in Python) keeps its
paths as they are given, and nothing is looked up.
"""

from inspect import formatannotation, signature
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationInfo

from tuning_room.errors import RecipeError

FOLDER = "recipe_folder"
LARGEST = 1_000_000  # bytes of a prompt: no model that is baked into reads a quarter of a million tokens


def context(folder: Path) -> dict[str, Path]:
    """Return the validation context of a recipe that lies in a folder."""
    return {FOLDER: folder}


def _anchored(path: Path, info: ValidationInfo) -> Path:
    return info.context[FOLDER] / path if info.context else path


def _existing_file(path: Path, info: ValidationInfo) -> Path:
    if info.context and not path.is_file():
        reason = "is not a file" if path.exists() else "does not exist"
        raise RecipeError(f"{path} {reason}", hint="write the file, or correct its name")
    return path


def _existing_folder(path: Path, info: ValidationInfo) -> Path:
    if info.context and not path.is_dir():
        raise RecipeError(f"{path} is not a folder", hint="create the folder, or correct its name")
    return path


def _with_words(path: Path, info: ValidationInfo) -> Path:
    if not info.context:
        return path
    if (size := path.stat().st_size) > LARGEST:
        raise RecipeError(f"{path} has {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}", hint="name the file meant")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path} is not UTF-8", hint="save it as UTF-8") from None
    if not text.strip():
        raise RecipeError(f"{path} is empty", hint="write its text, or name another file")
    return path


def model_beside(reference: str, info: ValidationInfo) -> str:
    """Return a model's reference; one that begins with ./ or ../ is a folder beside the recipe."""
    if not info.context or not reference.startswith(("./", "../")):
        return reference
    return str((info.context[FOLDER] / reference).resolve())


RecipePath = Annotated[Path, AfterValidator(_anchored)]
RecipeFile = Annotated[RecipePath, AfterValidator(_existing_file)]
RecipeText = Annotated[RecipeFile, AfterValidator(_with_words)]
RecipeFolder = Annotated[RecipePath, AfterValidator(_existing_folder)]
ModelReference = Annotated[str, AfterValidator(model_beside)]

_FILES = TypeAdapter(dict[str, dict[str, RecipeFile]])
Parameters = dict[str, Any]


def _with_files(
    checks: dict[str, Parameters | list[Parameters]], info: ValidationInfo
) -> dict[str, Parameters | list[Parameters]]:
    """Return checks with the files of those parameters that a check's own signature says are paths."""
    if empty := next((name for name, given in checks.items() if given == []), ""):
        raise ValueError(f"{empty}: an empty list checks nothing: give parameters, {{}} if there are none, or a list")
    return {
        name: [_found(name, each, info) for each in given] if isinstance(given, list) else _found(name, given, info)
        for name, given in checks.items()
    }


def _found(check: str, parameters: Parameters, info: ValidationInfo) -> Parameters:
    paths = _path_parameters(check)
    named = {key: value for key, value in parameters.items() if isinstance(value, str) and key in paths}
    return {**parameters, **_FILES.validate_python({check: named}, context=info.context)[check]}


def _path_parameters(check: str) -> set[str]:
    from tuning_room.checks.registry import find

    try:
        parameters = signature(find(check)).parameters
    except RecipeError:
        # The dataset stage says which checks there are; one that does not exist has no files either.
        return set()
    return {name for name, parameter in parameters.items() if "Path" in formatannotation(parameter.annotation)}


# One set of parameters a check, or a list of them, each of which a reply must pass.
Checks = Annotated[dict[str, Parameters | list[Parameters]], AfterValidator(_with_files)]

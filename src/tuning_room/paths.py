"""Paths in a recipe: a field's own type says that its path lies beside the recipe, and what has to be there.

A recipe is validated with a context that holds its folder. A config that is built without one (in Python) keeps its
paths as they are given, and nothing is looked up.

A recipe may come from somebody else, and is data: what it reads lies in its own folder, or, named by a path, in the
folder that holds it; nothing that it names is run. Only the user of this process can permit more.
"""

import os
from collections.abc import Iterable, Iterator
from inspect import formatannotation, signature
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationInfo

from tuning_room.errors import RecipeError

FOLDER, OUTSIDE = "recipe_folder", "read_outside"
PACKAGE = Path(__file__).resolve().parent  # its own suites and texts may be named too
ALLOW_FILES, ALLOW_CODE = "--allow-files", "--allow-code"
LONGEST = 255  # bytes of a file's name, on every file system in use
LARGEST = 1_000_000  # bytes of a prompt: no model that is baked into reads a quarter of a million tokens


class Permissions:
    """What recipes may do in this process besides being data: read the files of more folders, have code run."""

    def __init__(self) -> None:
        self.grant()

    def grant(self, folders: Iterable[Path] = (), *, code: bool = False) -> None:
        """Permit this, and no more what was permitted before."""
        self.folders = [folder.resolve() for folder in folders]
        self.code = code

    def flags(self) -> list[str]:
        """Return the flags of the command line that permit the same."""
        files = [word for folder in self.folders for word in (ALLOW_FILES, str(folder))]
        return [*files, *([ALLOW_CODE] if self.code else [])]


PERMISSIONS = Permissions()


def context(folder: Path) -> dict[str, Any]:
    """Return the validation context of a recipe that lies in a folder; it collects what is read outside of that."""
    return {FOLDER: folder, OUTSIDE: set[Path]()}


def read_outside(found: dict[str, Any]) -> list[Path]:
    """Return the paths outside the recipe's folder that it names, once it has been validated under this context."""
    return sorted(found[OUTSIDE])


def _anchored(path: Path, info: ValidationInfo) -> Path:
    if any(len(part.encode("utf-8", "surrogatepass")) > LONGEST for part in path.parts):
        raise RecipeError(f"{str(path)[:40]}... is too long for a file's name", hint=f"use at most {LONGEST} bytes")
    return info.context[FOLDER] / path if info.context else path


def _readable(path: Path, info: ValidationInfo) -> Path:
    if info.context:
        home = _real(info.context[FOLDER])
        given = path.relative_to(info.context[FOLDER]) if path.is_relative_to(info.context[FOLDER]) else path
        real = _permitted(home / given, home)
        if not _lies_in(real, [home, PACKAGE]):
            info.context[OUTSIDE].add(real)
    return path


def _permitted(path: Path, home: Path) -> Path:
    """Return where a path leads; RecipeError unless the recipe in the folder `home` may read there."""
    real = _real(path)
    readable = [home, PACKAGE, *PERMISSIONS.folders]
    if not _lies_in(real, readable):
        # A path that its author wrote may lead to what the recipes beside this one share; a link in it may not.
        named = Path(os.path.normpath(path))
        if _lies_in(named, [home]) or not (_is_beside(named, home) and _is_beside(real, home)):
            leads = f" (it leads to {real})" if real != named else ""
            raise _unreadable(f"{path} is outside the recipe's folder{leads}", real)
        readable.append(real)
    for link in _links(real):
        if not _lies_in(_real(link), [*readable, real]):
            raise _unreadable(f"{link} is a link that leads out of the recipe's folder, to {_real(link)}", _real(link))
    return real


def _unreadable(what: str, real: Path) -> RecipeError:
    folder = real if real.is_dir() else real.parent
    return RecipeError(what, hint=f"copy the files there, or let the recipe read them with {ALLOW_FILES} {folder}")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike Path.resolve, it takes links that lead in a circle


def _lies_in(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _is_beside(path: Path, home: Path) -> bool:
    """Return whether recipes share a path: it lies in the folder that holds this one's, or one level further up.

    Neither folder as a whole is shared, nor hidden files in it, nor anything at the root of the file system. Two levels
    up, what holds the user's home is theirs and not the recipes'.
    """
    near, far = home.parent, home.parent.parent
    return _shares(near, path, home) or (not _own().is_relative_to(far) and _shares(far, path, home))


def _own() -> Path:
    try:
        return _real(Path.home())
    except RuntimeError:
        return Path("/")  # a user without a name and without HOME


def _shares(folder: Path, path: Path, home: Path) -> bool:
    if folder == folder.parent or not path.is_relative_to(folder) or home.is_relative_to(path):
        return False
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _links(folder: Path) -> Iterator[Path]:
    """Yield the links below a folder; what they lead to is not searched, since no stage follows one to a folder."""
    for place, folders, names in os.walk(folder):
        yield from (path for name in (*folders, *names) if (path := Path(place, name)).is_symlink())


def _require_code(what: str) -> None:
    """Raise RecipeError unless recipes may have code run in this process."""
    if not PERMISSIONS.code:
        raise RecipeError(
            f"{what}, and a recipe is data: it runs no code of its own",
            hint=f"read that code; if you trust it, let it run with {ALLOW_CODE}",
        )


def _existing_file(path: Path, info: ValidationInfo) -> Path:
    if info.context and not path.is_file():
        reason = "is not a file" if path.exists() else "does not exist"
        raise RecipeError(f"{path} {reason}", hint="write the file, or correct its name")
    return path


def _existing_folder(path: Path, info: ValidationInfo) -> Path:
    if info.context and not path.is_dir():
        raise RecipeError(f"{path} is not a folder", hint="create the folder, or correct its name")
    return path


def _program(path: Path, info: ValidationInfo) -> Path:
    if info.context:
        _require_code(f"{path} would be run")
    return path


def _with_code(path: Path, info: ValidationInfo) -> Path:
    if info.context:
        _require_code(f"{path} holds code")
    return path


def _with_words(path: Path, info: ValidationInfo) -> Path:
    if not info.context:
        return path
    if (size := path.stat().st_size) > LARGEST:
        raise RecipeError(f"{path} has {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}", hint="name the file meant")
    try:
        text = path.read_text(encoding="utf-8-sig")
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


RecipePath = Annotated[Path, AfterValidator(_anchored), AfterValidator(_readable)]
RecipeFile = Annotated[RecipePath, AfterValidator(_existing_file)]
RecipeText = Annotated[RecipeFile, AfterValidator(_with_words)]
RecipeFolder = Annotated[RecipePath, AfterValidator(_existing_folder)]
RecipeProgram = Annotated[Path, AfterValidator(_anchored), AfterValidator(_program)]
RecipeCode = Annotated[RecipeFolder, AfterValidator(_with_code)]
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

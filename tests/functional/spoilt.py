"""A small recipe with its finished run, and ways to spoil a file of either: cut, emptied, exchanged, odd, hostile."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Spoil = Callable[[Path, random.Random], None]

# What somebody might write where something else belongs.
ODD: list[Any] = [
    None, True, -1, 0, 10**30, 1.5, float("inf"), float("nan"), "", " ", "1e999", "-1", "x" * 20_000, "\x00",
    "\x1b[31m", "a\nb", ".", "..", "/", "/etc/passwd", "~", "\N{COMBINING ACUTE ACCENT}", "{", "{x}", "{0.a}", "(",
    "^(a+)+$", "x/0",
    [], {}, [[]], [None], [1, "a"], {"": ""}, {1: 2, "a": 3}, {"a": {"a": {"a": {}}}}, ["a"] * 1000,
]  # fmt: skip


def write_recipe(folder: Path, model: Path) -> Path:
    """Write a recipe of a few rows on a tiny model, with something of every kind of file that people write."""
    (folder / "documents").mkdir(parents=True)
    (folder / "rules" / "families").mkdir(parents=True)
    texts = {
        "prompt.md": "You are a clerk.\n\n- Ask exactly one question.\n- Never say 'refund'.\n",
        "documents/book.md": "# Desk\n\n## Problem 1.1: Two\n\nHow many?\n\nGuidance\n\n- Ask what is there.\n",
        "documents/table.csv": "shelf,books\nA,12\nB,7\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    _rows(folder / "seeds.jsonl", [{"id": f"s{n}", "messages": _said(n)} for n in range(6)])
    _rows(folder / "items.jsonl", [{"id": f"i{n}", "prompt": f"Where is shelf {n}?", "gold": str(n)} for n in range(2)])
    _yaml(folder / "rules" / "families" / "sums.yaml", [_family()])
    _yaml(folder / "rules" / "situations.yaml", [{"name": "plain", "user": ["{user}"], "assistant": ["{assistant}"]}])
    _yaml(folder / "rules" / "notes.yaml", _notes())
    quote = "Ask exactly one question."
    _yaml(folder / "requirements.yaml", [{"id": "one-question", "quote": quote, "has": ["asks"], "every_reply": True}])
    _yaml(folder / "recipe.yaml", _recipe(model))
    return folder


def _said(number: int) -> list[dict[str, str]]:
    words = ["red", "blue", "grey", "tall", "old", "small"][number]
    question = f"I look for the {words} book number {number}."
    return [{"role": "user", "content": question}, {"role": "assistant", "content": f"Is the {words} book for you?"}]


def _family() -> dict[str, Any]:
    return {
        "name": "sums", "topic": "sums", "parameters": {"a": {"from": 2, "to": 9}, "b": [3, 4]},
        "derived": {"total": "a + b"}, "require": ["Ne(a, b)"], "answer": "total", "wrong": ["total + 1"],
        "problem": "{a} + {b}", "user": ["What is {a} + {b}?"], "assistant": ["What do you get for {a}?", "And {b}?"],
    }  # fmt: skip


def _notes() -> dict[str, Any]:
    return {
        "heading": r"^Problem (?P<number>[\d.]+): (?P<title>.+)$", "topic": "^(?P<topic>.+)$", "label": "^Guidance",
        "second_person": {"they": "you"}, "rules": [{"match": r"^Ask (?P<clause>.+)\.$", "say": ["{question}"]}],
    }  # fmt: skip


def _recipe(model: Path) -> dict[str, Any]:
    return {
        "name": "tiny", "model": str(model), "full_prompt": "prompt.md", "short_prompt": "You are a clerk.",
        "documents": "documents", "requirements": "requirements.yaml", "seeds": "seeds.jsonl", "rules": "rules",
        "suites": {"behaviour": {"items": "items.jsonl", "metrics": ["asks"], "size": 2}},
        "traffic": {"users": 10},
        "generate": {"rows": 6},
        "dataset": {
            "minimum": 2, "valid_fraction": 0.2, "semantic_duplicate": None,
            "checks": {
                "length": {"at_most": 60}, "forbidden_phrases": {"phrases": ["refund"]},
                "regular_expression": {"must_match": "[?]"},
            },
        },
        "train": {"max_steps": 2, "batch_size": 2, "rank": 2, "save_every": 1, "validate_every": 1},
        "evaluate": {
            "arms": ["prompted", "baked"], "metrics": ["asks"], "max_tokens": 2, "neutral": None, "economics": False,
            "gates": [{"metric": "asks", "arm": "baked", "at_least": 0.1}],
        },
        "deploy": {"repo_url": "https://git.example.com/desk.git"},
    }  # fmt: skip


def _rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _yaml(path: Path, value: Any) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")


def cut(path: Path, rng: random.Random) -> None:
    """Cut a file off somewhere."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


SIGNS = [b"\x00", b"\xff", b'"', b"{", b"\n", b":", b"\\ud800", b"&a [*a]"]


def noise(path: Path, rng: random.Random) -> None:
    """Put bytes into a file that do not belong there."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 5, 50])):
        place = rng.randrange(len(content) + 1)
        content[place:place] = rng.choice([*SIGNS, rng.randbytes(3)])
    path.write_bytes(bytes(content))


def exchanged(path: Path, rng: random.Random) -> None:
    """Put something else in the place of a file's content."""
    deep, odd_texts = [b"[" * 100_000, b'{"a":' * 50_000], [b'{"a": "\\ud800"}', b'["\\udcff"]', b"a: &a [*a]"]
    small = [b"null", b"[]", b"{}", b"1", b'"x"', b"garbage\n", b"NaN", b"[Infinity]", b"\xff\xfe", b'{"step": 8}']
    path.write_bytes(rng.choice([*deep, *odd_texts, *small, b"\n\n"]))


def gone(path: Path, rng: random.Random) -> None:
    path.unlink()


def a_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def odd(path: Path, rng: random.Random) -> None:
    """Put something odd in the place of a value somewhere in a file of YAML, JSON or lines of JSON; else cut it."""
    if path.suffix == ".yaml" and "!function" not in path.read_text(encoding="utf-8"):
        _yaml(path, _spoilt(yaml.safe_load(path.read_text(encoding="utf-8")), rng))
    elif path.suffix == ".json":
        path.write_text(json.dumps(_spoilt(json.loads(path.read_text(encoding="utf-8")), rng)), encoding="utf-8")
    elif path.suffix == ".jsonl" and path.stat().st_size:
        lines = path.read_text(encoding="utf-8").splitlines()
        number = rng.randrange(len(lines))
        lines[number] = json.dumps(_spoilt(json.loads(lines[number]), rng))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        cut(path, rng)


def _spoilt(value: Any, rng: random.Random) -> Any:
    """Return a value of which one part, on any level, is another, or is gone, or stands under another name."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return rng.choice(ODD)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    copy = value.copy()
    what = rng.random()
    if what < 0.1:
        del copy[key]
    elif what < 0.2 and isinstance(copy, dict):
        copy[rng.choice([1, "x", f"{key}s", ""])] = copy.pop(key)
    else:
        copy[key] = _spoilt(copy[key], rng)
    return copy


SPOILS: list[Spoil] = [cut, noise, exchanged, gone, a_folder, odd, odd, odd, odd]

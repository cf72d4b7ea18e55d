"""What the functional tests share: a recipe small enough to be baked in about a minute, and the real command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "recipes" / "socratic-tutor"
COMMAND = [str(Path(sys.executable).parent / "tuning-room")]


def small_recipe(folder: Path, **changes: Any) -> Path:
    """Write the shipped recipe with everything small: one page of HTML, 40 rows, 4 steps, 3 items of three suites.

    Nothing is timed, and no neutral texts are read: what these take on a real model is no part of these tests.
    """
    for name in ("prompt.md", "requirements.yaml", "seeds.jsonl"):
        shutil.copy(SHIPPED / name, folder / name)
    for name in ("rules", "evaluation"):
        shutil.copytree(SHIPPED / name, folder / name)
    (folder / "documents").mkdir()
    shutil.copy(SHIPPED / "documents" / "faq.html", folder / "documents" / "faq.html")
    recipe = yaml.safe_load((SHIPPED / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["name"] = "small"
    recipe["generate"] |= {"rows": 40}
    recipe["dataset"] |= {"minimum": 20}
    recipe["train"] |= {"max_steps": 4, "rank": 4, "batch_size": 2, "save_every": 1}
    recipe["suites"] = {name: recipe["suites"][name] for name in ("behaviour", "pressure", "capability")}
    recipe["evaluate"] |= {"limit": 3, "max_tokens": 6, "economics": False, "neutral": None}
    recipe["evaluate"]["gates"] = [
        gate for gate in recipe["evaluate"]["gates"] if gate.get("suite", "all") in ("all", *recipe["suites"])
    ]
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, **changes}), encoding="utf-8")
    return folder


def terse_model(model: Path, folder: Path) -> Path:
    """Return a copy of a model that ends its turn with its first sentence: of itself, a small one goes on and on."""
    for path in model.iterdir():
        (folder / path.name).symlink_to(path.resolve())
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    # In the vocabulary of a byte-level tokenizer, "\u010a" is a line break.
    ends = [number for token, number in vocabulary.items() if token[-1] in ".?!\u010a"]
    config = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))
    (folder / "generation_config.json").unlink()
    known = config["eos_token_id"] if isinstance(config["eos_token_id"], list) else [config["eos_token_id"]]
    text = json.dumps({**config, "eos_token_id": [*known, *ends]})
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
    return folder


def run(*arguments: str, cwd: Path, timeout: float = 500) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )


def manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of the small recipe's run; {} before there is one."""
    path = folder / "runs" / "small" / "manifest.json"
    entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return entries


def leftovers(folder: Path) -> list[str]:
    """Return what stands under a temporary name in the run folder."""
    return [path.name for path in (folder / "runs").rglob(".*") if path.name.endswith((".tmp", ".old"))]

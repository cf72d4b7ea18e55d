"""Evaluation of arms that a server answers for, against this project's own server.

Real: the server on a port, HTTP, the harness, a Llama of two random layers with an adapter that was drawn, and for the
errors the command line. Not shown: a server of other make, nor replies that mean anything.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import run

from tuning_room import evaluate
from tuning_room.engines.local import LocalEngine
from tuning_room.evaluate.config import EvaluateConfig
from tuning_room.evaluate.targets import export_targets
from tuning_room.records import Item, read_json, read_jsonl, write_jsonl
from tuning_room.results import Sample
from tuning_room.serve.server import bound_socket, create_app
from tuning_room.workspace import Workspace

ARMS = ["base", "prompted", "baked", "baked_prompted"]
MODELS = {"base": "tiny", "prompted": "tiny", "baked": "tiny-adapter", "baked_prompted": "tiny-adapter"}
SINGLE = [Item(id=f"s{n}", prompt=f"What is {n} + 4? {'?' * n}", gold=str(n + 4)) for n in range(5)]
DRIFT = [Item(id=f"d{n}", prompt=f"What is {n} x 4?", gold=str(4 * n), turns=["Say it.", "Please!"]) for n in (2, 3)]


@pytest.fixture(scope="module")
def folder(drawn_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with a run folder that holds an adapter."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(drawn_adapter, root / "runs" / "tiny" / "adapter")
    (root / "documents").mkdir()
    (root / "prompt.md").write_text("Ask one question. Never tell.\n", encoding="utf-8")
    write_jsonl(root / "single.jsonl", SINGLE)
    write_jsonl(root / "drift.jsonl", DRIFT)
    return root


@pytest.fixture(scope="module")
def address(tiny_model: Path, folder: Path) -> Iterator[str]:
    import uvicorn

    adapter = folder / "runs" / "tiny" / "adapter"
    app = create_app(LocalEngine(tiny_model, base="tiny", adapters={"tiny-adapter": adapter}))
    with bound_socket("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join(timeout=20)


def config(folder: Path, tiny_model: Path, **more: Any) -> EvaluateConfig:
    values = {
        "model": str(tiny_model),
        "full_prompt": folder / "prompt.md",
        "short_prompt": "You are Kay.",
        "suites": {"single": folder / "single.jsonl", "drift": folder / "drift.jsonl"},
        "neutral": None,
        "max_tokens": 24,
        **more,
    }
    return EvaluateConfig.model_validate(values)


def samples(workspace: Workspace, arm: str) -> list[tuple[Any, ...]]:
    """Return all that was answered and measured of an arm."""
    rows = [s for name in ("single", "drift") for s in read_jsonl(
        workspace.evaluation / "samples" / f"{arm}.{name}.jsonl", Sample)]  # fmt: skip
    return [(s.item, s.turn, s.reply, s.finish_reason, s.prompt_tokens, s.completion_tokens, s.metrics) for s in rows]


def workspace_of(folder: Path, name: str) -> Workspace:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "adapter").symlink_to(folder / "runs" / "tiny" / "adapter")
    return Workspace(folder / name)


def test_a_served_arm_is_what_it_is_in_process(folder: Path, tiny_model: Path, address: str) -> None:
    own, served = workspace_of(folder, "own"), workspace_of(folder, "at-server")
    evaluate.run(config(folder, tiny_model), own)
    endpoints = {arm: {"model": model, "address": address} for arm, model in MODELS.items()}
    reference = {"reference": {"model": "tiny", "address": address}}
    evaluate.run(config(folder, tiny_model, arms=[*ARMS, "reference"], endpoints=endpoints | reference), served)

    for arm in ARMS:
        assert samples(own, arm) == samples(served, arm)
    assert samples(own, "base") != samples(own, "prompted") != samples(own, "baked")
    # The teacher of this test is the prompted arm's own model, under the same prompt.
    assert samples(served, "reference") == samples(served, "prompted")

    first, second = (read_json(workspace.results) for workspace in (own, served))
    assert {arm: second["rates"][arm] for arm in ARMS} == first["rates"]
    assert second["identities"]["baked"]["endpoint"] == f"tiny-adapter at {address}"
    assert second["identities"]["reference"]["system_prompt"] == first["identities"]["prompted"]["system_prompt"]
    compared = [row for row in second["differences"] if row["first"] == "reference"]
    assert {(row["second"], row["suite"]) for row in compared} == {("baked", s) for s in ("single", "drift", "all")}
    assert "reference" in second["drift"]


def test_arms_that_servers_answer_need_no_adapter_here(folder: Path, tiny_model: Path, address: str) -> None:
    workspace = Workspace(folder / "without-adapter")
    endpoints = {arm: {"model": model, "address": address} for arm, model in MODELS.items()}
    given = config(folder, tiny_model, arms=ARMS, endpoints=endpoints)
    assert workspace.adapter not in evaluate.STAGE.inputs(given, workspace)
    evaluate.run(given, workspace)
    assert not workspace.adapter.exists()
    assert len(samples(workspace, "baked")) == len(SINGLE) + 3 * len(DRIFT)


@pytest.mark.case("fault-address-password")
def test_a_password_in_an_address_is_nowhere_in_what_is_written(folder: Path, tiny_model: Path, address: str) -> None:
    workspace = workspace_of(folder, "with-password")
    secret = address.replace("//", "//ada:sk-geheim@")
    given = config(
        folder, tiny_model, arms=["baked", "reference"], endpoints={"reference": {"model": "tiny", "address": secret}}
    )
    evaluate.run(given, workspace)
    export_targets(workspace.root / "targets", "tiny", given, workspace, secret)
    assert read_json(workspace.results)["identities"]["reference"]["endpoint"] == f"tiny at {address}"
    files = [path for path in workspace.root.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path for path in files if b"geheim" in path.read_bytes()] == []


def recipe(folder: Path, tiny_model: Path, **evaluation: Any) -> None:
    values = {
        "name": "tiny",
        "model": str(tiny_model),
        "full_prompt": "prompt.md",
        "short_prompt": "You are Kay.",
        "documents": "documents",
        "suites": {"single": "single.jsonl"},
        "evaluate": {"neutral": None, "max_tokens": 8, **evaluation},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"model": "m", "address": "http://127.0.0.1:9/v1"}, "http://127.0.0.1:9/v1: cannot be reached"),
        ({"model": "nobody", "address": ""}, "model 'nobody' is not served here"),
    ],
)
def test_a_server_that_cannot_answer_is_one_line_before_anything_is_asked(
    folder: Path, tiny_model: Path, address: str, at: dict[str, str], said: str
) -> None:
    endpoints = {"reference": {**at, "address": at["address"] or address}}
    recipe(folder, tiny_model, arms=[*ARMS, "reference"], endpoints=endpoints)
    failed = run("evaluate", ".", cwd=folder)
    assert failed.returncode == 2
    assert said in failed.stderr and failed.stderr.count("error:") == 1 and "Traceback" not in failed.stderr
    assert not (folder / "runs" / "tiny" / "evaluation" / "samples").exists()


def test_an_arm_without_its_server_is_named(folder: Path, tiny_model: Path) -> None:
    recipe(folder, tiny_model, arms=["baked", "reference"])
    failed = run("evaluate", ".", cwd=folder)
    assert failed.returncode == 2 and "the arm 'reference' needs one" in failed.stderr


def test_targets_for_red_team_tools(folder: Path, tiny_model: Path) -> None:
    recipe(folder, tiny_model)
    done = run("evaluate", ".", "--export-targets", "targets", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["address"] == "http://127.0.0.1:8000/v1"
    assert all((folder / file).stat().st_size for file in told["files"])

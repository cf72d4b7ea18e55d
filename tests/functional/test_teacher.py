"""Generation with a teacher at an endpoint, on the real command line, against this project's own server.

Real: SDG Hub's flow, the official client, HTTP, the server and the embedded model behind it, documents by Docling.
Not shown: a teacher worth its name. The embedded model follows no prompt, so its rows are kept, not judged.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bakery import run, small_recipe, terse_model

from tuning_room.engines.local import LocalEngine
from tuning_room.serve.server import bound_socket, create_app


class Teacher:
    """A running server with the requests that it was sent."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[dict[str, Any]] = []


@pytest.fixture
def teacher(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teacher]:
    import uvicorn
    from starlette.requests import Request

    terse = terse_model(embedded_model, tmp_path_factory.mktemp("terse"))
    app = create_app(LocalEngine(terse, base="smollm2-135m"))
    with bound_socket("127.0.0.1", 0) as bound:
        running = Teacher(f"http://127.0.0.1:{bound.getsockname()[1]}/v1")

        @app.middleware("http")
        async def note(request: Request, call_next: Any) -> Any:
            running.requests.append(json.loads(await request.body() or b"{}"))
            return await call_next(request)

        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        yield running
        server.should_exit = True
        thread.join(timeout=20)


def test_the_teacher_answers_under_the_full_prompt_and_is_asked_once(teacher: Teacher, tmp_path: Path) -> None:
    folder = small_recipe(tmp_path)
    (folder / "documents" / "faq.html").write_text(
        "<h1>Tides</h1><p>The moon pulls the sea. High tide comes twice a day.</p>"
    )
    path = folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    at = {"kind": "endpoint", "model": "smollm2-135m", "address": teacher.address, "max_tokens": 60, "temperature": 0}
    recipe["generate"] = {"teacher": at, "rows_per_chunk": 1}
    path.write_text(yaml.safe_dump(recipe))

    assert run("convert", ".", cwd=folder).returncode == 0
    made = run("generate", ".", "--json", cwd=folder)

    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    assert result["sources"]["document"] == 1
    assert result["errors"] == 0
    asked, answered = teacher.requests
    assert "The moon pulls the sea" in asked["messages"][-1]["content"]
    assert answered["messages"][0] == {"role": "system", "content": (folder / "prompt.md").read_text().strip()}
    rows = [json.loads(line) for line in (folder / "runs" / "small" / "candidates.jsonl").read_text().splitlines()]
    row = next(row for row in rows if row["source"].startswith("document"))
    assert row["messages"][0]["content"] == answered["messages"][1]["content"]
    assert row["messages"][1]["content"]

    assert run("generate", ".", "--force", cwd=folder).returncode == 0
    assert len(teacher.requests) == 2, "an answer in the journal was asked for again"


def test_an_endpoint_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    folder = small_recipe(tmp_path)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["generate"]["teacher"] = {"kind": "endpoint", "model": "m", "address": "http://127.0.0.1:9/v1"}
    recipe["generate"]["rows_per_chunk"] = 1
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert run("convert", ".", cwd=folder).returncode == 0
    failed = run("generate", ".", cwd=folder)
    assert failed.returncode == 2
    assert failed.stderr.count("error:") == 1
    assert "127.0.0.1:9" in failed.stderr

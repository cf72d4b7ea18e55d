"""What the tests of flows share; flow_samples.py holds the scripted chat server."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_samples import FULL_PROMPT, ChatServer, chunk

from tuning_room.generate.config import GenerateConfig
from tuning_room.records import write_jsonl
from tuning_room.workspace import Workspace


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "run")
    write_jsonl(workspace.chunks, [chunk(1), chunk(2), chunk(3)])
    return workspace


@pytest.fixture
def config(tmp_path: Path, server: ChatServer) -> GenerateConfig:
    prompt = tmp_path / "prompt.md"
    prompt.write_text(FULL_PROMPT, encoding="utf-8")
    return GenerateConfig(full_prompt=prompt, teacher=server.config, rows_per_chunk=2)

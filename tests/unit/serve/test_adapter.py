"""Whether an adapter is let through to serving.

Real here: files and digests. Not real: the weights are a few bytes, and the tokenizer has only its chat template.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drawn_adapters import stated_digest, write_stated_adapter
from tuning_room.errors import (
    AdapterMismatchError,
    DataError,
    EngineError,
    MissingInputError,
    StageError,
    TuningRoomError,
)
from tuning_room.files import digest
from tuning_room.models import check_base
from tuning_room.models.lineage import read_lineage, verify_adapter
from tuning_room.records import write_json
from tuning_room.rendering import template_digest
from tuning_room.serve import adapter_rank, open_engine, run_server
from tuning_room.serve.config import ServeConfig
from tuning_room.serve.server import bound_socket
from tuning_room.workspace import StageRecord, Workspace

TOKENIZER: Any = SimpleNamespace(chat_template="{{ messages }}")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A run folder whose adapter has everything but real weights."""
    workspace = Workspace(tmp_path)
    names = {"recipe": "tutor", "base_model": "embedded:tiny", "short_prompt": "You are a tutor."}
    write_stated_adapter(workspace.adapter, template_digest=template_digest(TOKENIZER), **names)
    return workspace


def change(workspace: Workspace, **fields: Any) -> None:
    path = workspace.adapter / "tuning_room.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_an_adapter_as_it_was_trained_passes_and_has_its_name(workspace: Workspace) -> None:
    lineage = verify_adapter(workspace.adapter, TOKENIZER)
    assert lineage.name == f"tutor-{stated_digest()[:8]}"
    assert lineage.short_prompt == "You are a tutor."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter_model.safetensors", b"other weights"),
        ("adapter_model.safetensors", b"weigh"),
        ("adapter_config.json", b'{"r": 12, "lora_alpha": 800}'),
        ("adapter_config.json", b'{"r": 1'),
        ("adapter_config.json", b""),
    ],
)
def test_an_adapter_that_was_changed_is_refused(workspace: Workspace, name: str, content: bytes) -> None:
    (workspace.adapter / name).write_bytes(content)
    with pytest.raises(AdapterMismatchError, match=r"are not those that tuning_room\.json names"):
        verify_adapter(workspace.adapter, TOKENIZER)


def test_an_adapter_from_before_its_configuration_counted_says_so(workspace: Workspace) -> None:
    change(workspace, adapter_digest=digest(workspace.adapter / "adapter_model.safetensors"))
    with pytest.raises(AdapterMismatchError, match=r"a version that held the weights alone .* train --force"):
        verify_adapter(workspace.adapter, TOKENIZER)


def test_an_adapter_that_is_not_as_its_training_left_it_is_not_served(workspace: Workspace) -> None:
    record = StageRecord(state="done", config="", inputs={}, outputs={"adapter": "0" * 64}, started="")
    write_json(workspace.manifest, {"train": record.model_dump(mode="json")})
    with pytest.raises(StageError, match="adapter: has been changed since 'tuning-room train' wrote it"):
        open_engine(ServeConfig(model="embedded:tiny", recipe="tutor"), workspace)


def test_another_chat_template_is_refused(workspace: Workspace) -> None:
    other: Any = SimpleNamespace(chat_template=TOKENIZER.chat_template + " ")
    with pytest.raises(AdapterMismatchError, match="another chat template"):
        verify_adapter(workspace.adapter, other)


def test_another_base_model_is_refused(workspace: Workspace) -> None:
    lineage = read_lineage(workspace.adapter)
    check_base(workspace.adapter, lineage.base_model, "embedded:tiny")
    with pytest.raises(AdapterMismatchError, match="trained for 'embedded:tiny', not for 'org/other'"):
        check_base(workspace.adapter, lineage.base_model, "org/other")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"adapter_digest": "1234"}, "adapter_digest"),
        ({"recipe": ""}, "recipe"),
        ({"template_digest": None}, "template"),
    ],
)
def test_a_broken_lineage_names_its_field(workspace: Workspace, fields: dict[str, Any], field: str) -> None:
    change(workspace, **fields)
    with pytest.raises(DataError, match=rf"tuning_room\.json: {field}"):
        verify_adapter(workspace.adapter, TOKENIZER)


@pytest.mark.parametrize(("name", "content"), [("tuning_room.json", "{"), ("tuning_room.json", "[]")])
def test_a_lineage_that_is_none_is_refused(workspace: Workspace, name: str, content: str) -> None:
    (workspace.adapter / name).write_text(content)
    with pytest.raises(DataError, match=name):
        read_lineage(workspace.adapter)


@pytest.mark.parametrize("name", ["tuning_room.json", "adapter_model.safetensors", "adapter_config.json"])
def test_without_training_nothing_is_served(workspace: Workspace, name: str) -> None:
    (workspace.adapter / name).unlink()
    config = ServeConfig(model="embedded:tiny", recipe="tutor")
    with pytest.raises(MissingInputError):
        open_engine(config, workspace)
    with pytest.raises(MissingInputError):
        run_server(config.model_copy(update={"port": 0}), workspace)


def test_every_runs_adapter_has_to_be_of_the_first_ones_base_model(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    shutil.copytree(workspace.adapter, other.adapter)
    change(other, base_model="org/other")
    with pytest.raises(AdapterMismatchError, match=r"other/adapter: .* for 'org/other', not for 'embedded:tiny'"):
        open_engine(ServeConfig(model="embedded:tiny", recipe="tutor"), workspace, other)


def test_an_unknown_model_is_an_error_of_ours(workspace: Workspace) -> None:
    with pytest.raises(TuningRoomError, match="no such embedded model"):
        open_engine(ServeConfig(model="embedded:tiny", recipe="tutor"), workspace)


def test_an_address_that_is_taken_is_said_before_anything_is_loaded(workspace: Workspace) -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        taken.listen()
        config = ServeConfig(model="embedded:tiny", recipe="tutor", port=taken.getsockname()[1])
        with pytest.raises(EngineError, match="cannot listen"):
            run_server(config, workspace)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 99_999), ("no.such.host.invalid", 0), ("192.0.2.1", 0)])
def test_an_address_that_is_none_here_is_an_error(host: str, port: int) -> None:
    with pytest.raises(EngineError, match=f"cannot listen on {host}:{port}"):
        bound_socket(host, port)


@pytest.mark.parametrize(
    ("settings", "rank"), [('{"r": 12}', 12), ('{"r": 4, "rank_pattern": {"q_proj": 32}}', 32), ('{"r": 4}', 4)]
)
def test_the_rank_is_the_highest_of_all_layers(workspace: Workspace, settings: str, rank: int) -> None:
    (workspace.adapter / "adapter_config.json").write_text(settings)
    assert adapter_rank(workspace.adapter) == rank


@pytest.mark.parametrize("settings", ["{}", "[]", '{"r": 0}', '{"r": "4"}'])
def test_settings_without_a_rank_are_refused(workspace: Workspace, settings: str) -> None:
    (workspace.adapter / "adapter_config.json").write_text(settings)
    with pytest.raises(DataError, match="not a rank"):
        adapter_rank(workspace.adapter)

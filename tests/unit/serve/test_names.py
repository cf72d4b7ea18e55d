"""Which names answer, and when: proofs at the start and on demand, refusals, aliases, warnings.

Real here: the tiny model, drawn adapters with probes, the in-process engine, the application. The complaints by number
stand in tests/impostors.py.
"""

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from drawn_adapters import write_drawn_adapter, write_drawn_lineage
from impostors import IMPOSTORS, LOUD, add_probes, write_impostor
from tuning_room.engines.local import LocalEngine
from tuning_room.engines.proving import Forced
from tuning_room.errors import AdapterMismatchError, EngineError, TuningRoomError
from tuning_room.models.lineage import read_lineage, write_lineage
from tuning_room.serve import open_engine, prove_served
from tuning_room.serve.config import ServeConfig
from tuning_room.serve.preparing import ServedModels, prepare
from tuning_room.serve.roster import Roster, ServedAdapter
from tuning_room.serve.server import ServerSettings, create_app
from tuning_room.workspace import Workspace

SHORT = {"role": "system", "content": "You are a helper."}
HELLO = {"role": "user", "content": "Hello"}


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Workspace]:
    """Two runs with an adapter each."""
    root, made = tmp_path_factory.mktemp("runs"), {}
    for recipe, seed in (("cook", 3), ("clerk", 4)):
        made[recipe] = Workspace(root / recipe)
        write_drawn_adapter(tiny_model, made[recipe].adapter, seed)
        write_drawn_lineage(tiny_model, made[recipe].adapter, recipe, str(tiny_model))
        add_probes(tiny_model, made[recipe].adapter)
    return made


def name_of(workspace: Workspace) -> str:
    return read_lineage(workspace.adapter).name


@pytest.fixture
def impostor(runs: dict[str, Workspace], tiny_model: Path, tmp_path: Path) -> Callable[[str], Workspace]:
    """Return a function that makes a run whose adapter is an impostor of the cook's."""

    def made(kind: str) -> Workspace:
        workspace = Workspace(tmp_path / "impostor")
        write_impostor(kind, runs["cook"].adapter, tiny_model, workspace.adapter)
        return workspace

    return made


def config(tiny_model: Path, **more: Any) -> ServeConfig:
    return ServeConfig(model=str(tiny_model), recipe="cook", **more)


def opened(served: ServedModels, **more: Any) -> tuple[LocalEngine, Roster]:
    engine = LocalEngine(served.model, base=served.base, adapters=served.adapters)
    return engine, Roster(served.base, served.entries, engine, plain=served.plain, **more)


@pytest.fixture
def both(tiny_model: Path, runs: dict[str, Workspace]) -> tuple[LocalEngine, Roster]:
    """An engine with both adapters, and their names, not proven yet."""
    return opened(prepare(config(tiny_model), list(runs.values())))


def client_of(engine: LocalEngine, roster: Roster, host: str = "127.0.0.1") -> TestClient:
    app = create_app(engine, ServerSettings(longest=4), roster=roster)
    return TestClient(app, raise_server_exceptions=False, client=(host, 50000))


def ask(client: TestClient, model: str, *messages: dict[str, str]) -> Any:
    body = {"model": model, "messages": list(messages) or [SHORT, HELLO]}
    return client.post("/v1/chat/completions", json=body)


def test_nobody_is_answered_before_the_proof(both: tuple[LocalEngine, Roster], runs: dict[str, Workspace]) -> None:
    """Complaint 4: early clients are asked to wait, and no reply of theirs comes from what is not proven yet."""
    engine, roster = both
    client = client_of(engine, roster)
    for model in (roster.base, name_of(runs["cook"]), "cook"):
        early = ask(client, model)
        assert (early.status_code, early.json()["error"]["code"]) == (503, "model_not_ready")
        assert int(early.headers["Retry-After"]) > 0
    assert client.get("/health").status_code == 503
    roster.prove_all()
    assert client.get("/health").json() == {"status": "ok"}
    for model in (roster.base, name_of(runs["cook"]), name_of(runs["clerk"]), "clerk"):
        assert ask(client, model).status_code == 200
    states = client.get("/v1/adapters").json()["data"]
    assert [(one["name"], one["state"]) for one in states] == [(name_of(run), "proven") for run in runs.values()]
    assert states[0]["proof"]["from_record"] < states[0]["proof"]["bound"] < states[0]["proof"]["apart"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", IMPOSTORS)
def test_an_impostor_is_refused_and_keeps_nobody_out(
    kind: str, impostor: Callable[[str], Workspace], runs: dict[str, Workspace], tiny_model: Path
) -> None:
    """Complaints 1 and 5: the bad one is refused with a reason of one line, the good one answers."""
    bad = impostor(kind)
    roster = prove_served(config(tiny_model), bad, runs["clerk"], tell=lambda _text: None)
    refused, good = roster.adapters()
    assert (refused.state, good.state) == ("refused", "proven")
    assert refused.reason and "\n" not in refused.reason and "Traceback" not in refused.reason
    assert roster.names() == [roster.base, good.name, "clerk"]


@pytest.mark.parametrize("kind", LOUD)
def test_files_that_cannot_be_loaded_are_an_error_of_one_line(
    kind: str, impostor: Callable[[str], Workspace], tiny_model: Path, tmp_path: Path
) -> None:
    """Complaint 1: alone, such an adapter ends the command."""
    with pytest.raises(TuningRoomError) as caught:
        prepare(config(tiny_model), [impostor(kind)], at_least=1)
    assert "\n" not in str(caught.value)
    (refused,) = prove_served(config(tiny_model), Workspace(tmp_path / "impostor"), tell=lambda _text: None).adapters()
    assert (refused.state, refused.reason) == ("refused", str(caught.value))


def test_missing_modules_are_counted_and_named(impostor: Callable[[str], Workspace], tiny_model: Path) -> None:
    """Complaint 1: what was expected and what was found stands in the refusal."""
    with pytest.raises(AdapterMismatchError) as caught:
        prepare(config(tiny_model), [impostor("one module left")])
    assert "asks for 28 weights on this base model, adapter_model.safetensors has 2" in str(caught.value)
    assert "lacks base_model.model.model.layers." in str(caught.value)


def test_a_refused_name_does_not_answer(
    impostor: Callable[[str], Workspace], runs: dict[str, Workspace], tiny_model: Path
) -> None:
    """Complaint 1: not under its own name, not under its recipe's, and never by the base model in its place."""
    bad = impostor("lora_alpha of 1")
    engine, roster = opened(prepare(config(tiny_model), [bad, runs["clerk"]], at_least=1))
    roster.prove_all()
    client = client_of(engine, roster)
    answer = ask(client, name_of(bad))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "adapter_refused")
    assert "it does not answer as it did when it was trained" in answer.json()["error"]["message"]
    assert ask(client, "cook").status_code == 409
    assert name_of(bad) not in [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert ask(client, name_of(runs["clerk"])).status_code == 200


def test_with_every_adapter_refused_the_server_is_not_healthy(
    impostor: Callable[[str], Workspace], tiny_model: Path
) -> None:
    """Complaint 4: such a replica gets no traffic."""
    engine, roster = opened(prepare(config(tiny_model), [impostor("use_rslora")], at_least=1))
    roster.prove_all()
    health = client_of(engine, roster).get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "refused")
    assert [entry.keys() for entry in health.json()["adapters"]] == [{"name", "state"}]


def test_a_proof_on_demand_refuses_and_a_retry_heals(
    both: tuple[LocalEngine, Roster], runs: dict[str, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complaint 4: what a proof finds holds from then on, either way."""
    engine, roster = both
    roster.prove_all()
    client, name = client_of(engine, roster), name_of(runs["cook"])
    assert client.post(f"/v1/adapters/{name}/proof").json()["state"] == "proven"
    right = engine.forced_scores

    def swapped(forced: Sequence[Forced]) -> list[list[float]]:
        return right([one._replace(model=roster.base) for one in forced])

    monkeypatch.setattr(engine, "forced_scores", swapped)
    refused = client.post(f"/v1/adapters/{name}/proof").json()
    assert (refused["state"], refused["answers"], refused["proofs"]) == ("refused", False, 3)
    assert ask(client, name).status_code == 409
    assert ask(client, name_of(runs["clerk"])).status_code == 200
    monkeypatch.undo()
    assert client.post("/v1/adapters/cook/proof").json()["state"] == "proven"
    assert ask(client, name).status_code == 200
    assert client.post("/v1/adapters/nobody/proof").status_code == 404


def test_a_proof_holds_while_clients_ask(both: tuple[LocalEngine, Roster], runs: dict[str, Workspace]) -> None:
    """Complaint 2: the verdict is the same in company, and so are the replies."""
    engine, roster = both
    roster.prove_all()
    client, names = client_of(engine, roster), [roster.base, *map(name_of, runs.values())]
    alone = {name: ask(client, name).json()["choices"][0]["message"]["content"] for name in names}
    said: list[tuple[str, str]] = []
    done = threading.Event()

    def busy(name: str) -> None:
        while not done.is_set():
            said.append((name, ask(client, name).json()["choices"][0]["message"]["content"]))

    threads = [threading.Thread(target=busy, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    proofs = [client.post(f"/v1/adapters/{name}/proof").json()["state"] for name in names[1:] * 2]
    done.set()
    for thread in threads:
        thread.join()
    assert proofs == ["proven"] * 4
    assert {name for name, _ in said} == {*names}
    assert all(alone[name] == text for name, text in said)


def test_an_alias_stands_for_the_recipes_adapter_and_is_moved_in_one_step(
    both: tuple[LocalEngine, Roster], runs: dict[str, Workspace]
) -> None:
    """Complaint 3: what moves is the alias; a name with a digest stands for one adapter, and answers say which."""
    engine, roster = both
    roster.prove_all()
    client, (cook, clerk) = client_of(engine, roster), map(name_of, runs.values())
    assert ask(client, "cook").json()["model"] == cook
    moved = client.put("/v1/aliases/cook", json={"adapter": clerk})
    assert moved.json() == {"alias": "cook", "adapter": clerk}
    answer = ask(client, "cook")
    assert answer.json()["model"] == answer.headers["X-Tuning-Room-Model"] == clerk
    assert answer.headers["X-Tuning-Room-Digest"] == f"sha256:{read_lineage(runs['clerk'].adapter).adapter_digest}"
    assert client.put("/v1/aliases/public", json={"adapter": cook}).status_code == 200
    assert ask(client, "public").json()["model"] == cook
    for taken in (cook, roster.base):
        assert client.put(f"/v1/aliases/{taken}", json={"adapter": clerk}).status_code == 409
    assert client.put("/v1/aliases/cook", json={"adapter": "nobody"}).status_code == 404
    assert client.put("/v1/aliases/cook", json={}).status_code == 400


def test_an_alias_is_moved_from_the_servers_own_machine_only(
    both: tuple[LocalEngine, Roster], runs: dict[str, Workspace]
) -> None:
    roster = both[1]
    roster.prove_all()
    answer = client_of(*both, host="203.0.113.9").put("/v1/aliases/cook", json={"adapter": name_of(runs["clerk"])})
    assert answer.status_code == 403
    for header in ("X-Forwarded-For", "Origin", "Via"):
        put = client_of(*both).put("/v1/aliases/cook", json={"adapter": name_of(runs["clerk"])}, headers={header: "x"})
        assert put.status_code == 403
    assert roster.aliases()["cook"] == name_of(runs["cook"])


def test_an_alias_never_stands_for_what_was_refused(
    impostor: Callable[[str], Workspace], runs: dict[str, Workspace], tiny_model: Path
) -> None:
    bad = impostor("another valid adapter")
    engine, roster = opened(prepare(config(tiny_model), [runs["cook"], bad], at_least=1))
    roster.prove_all()
    client = client_of(engine, roster)
    assert client.put("/v1/aliases/cook", json={"adapter": name_of(bad)}).status_code == 409
    assert ask(client, "cook").json()["model"] == name_of(runs["cook"])


def test_a_name_stands_for_one_digest() -> None:
    """Complaint 3: the first eight digits alike, the bytes not."""
    first = ServedAdapter("cook-01234567", digest="01234567" + "a" * 56)
    other = ServedAdapter("cook-01234567", digest="01234567" + "b" * 56)
    assert len(Roster("tiny", [first, first]).adapters()) == 1
    with pytest.raises(AdapterMismatchError, match="belongs to an adapter of digest 01234567aaaaaaaa"):
        Roster("tiny", [first, other])
    with pytest.raises(AdapterMismatchError, match="belongs to the base model"):
        Roster("cook-01234567", [first])


def test_another_system_turn_is_warned_of_and_counted(
    both: tuple[LocalEngine, Roster], runs: dict[str, Workspace]
) -> None:
    engine, roster = both
    roster.prove_all()
    client, name = client_of(engine, roster), name_of(runs["cook"])
    assert "X-Tuning-Room-Warning" not in ask(client, name, SHORT, HELLO).headers
    long = {"role": "system", "content": "You are a helper. Be brief."}
    for messages in ([long, HELLO], [HELLO]):
        assert "system turn" in ask(client, name, *messages).headers["X-Tuning-Room-Warning"]
    assert "X-Tuning-Room-Warning" not in ask(client, roster.base, HELLO).headers
    counts = {one["name"]: one["other_system_turns"] for one in client.get("/v1/adapters").json()["data"]}
    assert counts == {name: 2, name_of(runs["clerk"]): 0}


def without_probes(workspace: Workspace, folder: Path) -> Workspace:
    """Return a copy of a run whose adapter is from before there were probes."""
    shutil.copytree(workspace.adapter, folder / "adapter")
    (folder / "adapter" / "probes.json").unlink()
    lineage = read_lineage(folder / "adapter")
    write_lineage(folder / "adapter", lineage.model_copy(update={"probes_digest": ""}))
    return Workspace(folder)


def test_an_adapter_from_before_there_were_probes_is_served_as_unproven(
    runs: dict[str, Workspace], tiny_model: Path, tmp_path: Path
) -> None:
    old = without_probes(runs["cook"], tmp_path / "old")
    served = prepare(config(tiny_model), [old])
    engine, roster = opened(served)
    roster.prove_all()
    answer = ask(client_of(engine, roster), name_of(old))
    assert answer.status_code == 200
    assert answer.headers["X-Tuning-Room-Warning"] == "the adapter is unproven"
    assert roster.status()[0]["state"] == "unproven"
    engine, strict = opened(served, require_proof=True)
    strict.prove_all()
    assert ask(client_of(engine, strict), name_of(old)).status_code == 409


def test_without_probes_one_without_effect_is_refused_all_the_same(
    impostor: Callable[[str], Workspace], tiny_model: Path, tmp_path: Path
) -> None:
    """Complaint 1."""
    old = without_probes(impostor("no effect: lora_B all zero"), tmp_path / "old")
    (adapter,) = prove_served(config(tiny_model), old, tell=lambda _text: None).adapters()
    assert (adapter.state, adapter.reason) == (
        "refused",
        "it answers like the base model: it is served but not applied",
    )


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text.replace('"row"', '"base"', 1), "not the probes that the training recorded"),
        (lambda text: "", "not the probes that the training recorded"),
    ],
)
def test_probes_that_were_changed_are_refused(
    spoil: Callable[[str], str], reason: str, runs: dict[str, Workspace], tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs["cook"].adapter, tmp_path / "adapter")
    path = tmp_path / "adapter" / "probes.json"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(AdapterMismatchError, match=reason):
        prepare(config(tiny_model), [Workspace(tmp_path)])


def test_probes_of_another_adapter_are_refused(runs: dict[str, Workspace], tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(runs["cook"].adapter, tmp_path / "adapter")
    path = tmp_path / "adapter" / "probes.json"
    shutil.copyfile(runs["clerk"].adapter / "probes.json", path)
    lineage = json.loads((tmp_path / "adapter" / "tuning_room.json").read_text())
    lineage["probes_digest"] = read_lineage(runs["clerk"].adapter).probes_digest
    (tmp_path / "adapter" / "tuning_room.json").write_text(json.dumps(lineage))
    with pytest.raises(AdapterMismatchError, match="recorded for another adapter"):
        prepare(config(tiny_model), [Workspace(tmp_path)])


def test_a_chat_asks_for_a_proof_where_the_recipe_does(
    runs: dict[str, Workspace], tiny_model: Path, tmp_path: Path
) -> None:
    old = without_probes(runs["cook"], tmp_path / "old")
    assert open_engine(config(tiny_model), old).models()
    with pytest.raises(EngineError, match="is unproven"):
        open_engine(config(tiny_model, require_proof=True), old)

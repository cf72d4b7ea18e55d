"""The run folder: what is run again and what is not. Real: files, locks, processes; the stages are small ones."""

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import workspace as module
from tuning_room.errors import (
    DataError,
    DocumentError,
    MissingInputError,
    OccupiedError,
    StageError,
    WorkspaceBusyError,
)
from tuning_room.files import atomic_writer
from tuning_room.workspace import Stage, StageConfig, StageResult, Workspace, installed_versions


class CopyConfig(StageConfig):
    source: Path
    others: list[Path] = []
    named: dict[str, Path] = {}
    times: int = 1


class CopyResult(StageResult):
    characters: int


class Copier:
    """A stage that writes its sources into `chunks.jsonl` and counts how often it did."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails_with: BaseException | None = None
        self.stage = Stage("copy", CopyResult, self.inputs, self.outputs, self.run)

    def inputs(self, config: CopyConfig, workspace: Workspace) -> list[Path]:
        return [config.source, *config.others, *config.named.values()]

    def outputs(self, workspace: Workspace) -> list[Path]:
        return [workspace.chunks]

    def run(self, config: CopyConfig, workspace: Workspace) -> CopyResult:
        self.runs += 1
        text = "".join(path.read_text() for path in self.inputs(config, workspace)) * config.times
        with atomic_writer(workspace.chunks) as out:
            out.write(text)
            if self.fails_with:
                raise self.fails_with
        return CopyResult(characters=len(text))


@pytest.fixture
def copier() -> Copier:
    return Copier()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("abc")
    return path


@pytest.fixture
def config(source: Path) -> CopyConfig:
    return CopyConfig(source=source)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs" / "small")


def test_a_second_run_does_nothing_and_gives_the_same(copier: Copier, config: CopyConfig, workspace: Workspace) -> None:
    assert workspace.state(copier.stage, config) == "not run"
    first, ran = workspace.perform(copier.stage, config)
    assert ran
    before = workspace.manifest.read_bytes()

    second, ran_again = workspace.perform(copier.stage, config)

    assert (ran_again, copier.runs) == (False, 1)
    assert first == second == CopyResult(characters=3)
    assert workspace.manifest.read_bytes() == before
    assert workspace.state(copier.stage, config) == "done"


def test_a_new_process_sees_what_is_done(copier: Copier, config: CopyConfig, workspace: Workspace) -> None:
    workspace.perform(copier.stage, config)
    result, ran = Workspace(workspace.root).perform(Copier().stage, config)
    assert (result.characters, ran) == (3, False)


CHANGES: dict[str, Callable[[Path, Workspace], None]] = {
    "input": lambda source, workspace: source.write_text("abd") and None,
    "output": lambda source, workspace: workspace.chunks.write_text("x") and None,
    "output gone": lambda source, workspace: workspace.chunks.unlink(),
    "manifest gone": lambda source, workspace: workspace.manifest.unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_on_disk_runs_it_again(
    change: Callable[[Path, Workspace], None], copier: Copier, config: CopyConfig, source: Path, workspace: Workspace
) -> None:
    workspace.perform(copier.stage, config)
    change(source, workspace)
    assert workspace.state(copier.stage, config) in ("changed", "not run")

    workspace.perform(copier.stage, config)

    assert copier.runs == 2
    assert workspace.chunks.read_text() == source.read_text()
    assert workspace.state(copier.stage, config) == "done"


def test_a_changed_config_or_force_runs_it_again(copier: Copier, config: CopyConfig, workspace: Workspace) -> None:
    workspace.perform(copier.stage, config)
    twice = config.model_copy(update={"times": 2})
    assert workspace.state(copier.stage, twice) == "changed"
    assert workspace.perform(copier.stage, twice) == (CopyResult(characters=6), True)
    assert workspace.perform(copier.stage, twice, force=True)[1]
    assert workspace.perform(copier.stage, config)[1], "going back is a change too"


def test_a_file_written_again_with_the_same_text_is_no_change(
    copier: Copier, config: CopyConfig, source: Path, workspace: Workspace
) -> None:
    workspace.perform(copier.stage, config)
    source.write_text(source.read_text())
    assert not workspace.perform(copier.stage, config)[1]


def test_the_same_files_at_another_path_are_no_change(copier: Copier, tmp_path: Path, workspace: Workspace) -> None:
    for place in ("here", "there"):
        folder = tmp_path / place
        folder.mkdir()
        for name in "abc":
            (folder / name).write_text(name)
        config = CopyConfig(source=folder / "a", others=[folder / "b"], named={"third": folder / "c"})
        workspace.perform(copier.stage, config)
    assert copier.runs == 1


def test_a_path_under_another_key_is_a_change(source: Path) -> None:
    one, other = (CopyConfig(source=source, named={key: source}) for key in ("plain", "hard"))
    assert one.digest() != other.digest()


def test_two_inputs_of_one_name_are_both_watched(copier: Copier, tmp_path: Path, workspace: Workspace) -> None:
    files = [tmp_path / folder / "items.jsonl" for folder in ("plain", "hard")]
    for file in files:
        file.parent.mkdir()
        file.write_text("x")
    config = CopyConfig(source=files[0], others=[files[1]])
    for runs, file in enumerate(files, start=2):
        workspace.perform(copier.stage, config)
        file.write_text("y")
        workspace.perform(copier.stage, config)
        assert copier.runs == runs, f"a change of {file} went unseen"


@given(times=st.integers(0, 9), other=st.integers(0, 9))
def test_a_configs_digest_depends_on_its_values(times: int, other: int) -> None:
    one, two = (CopyConfig(source=Path("x"), times=value).digest() for value in (times, other))
    assert (one == two) == (times == other)
    assert one == CopyConfig(source=Path("y"), times=times).digest()


def test_a_failed_stage_is_recorded_and_run_again(copier: Copier, config: CopyConfig, workspace: Workspace) -> None:
    copier.fails_with = DocumentError("page 3: broken", hint="mend it")
    with pytest.raises(DocumentError):
        workspace.perform(copier.stage, config)
    assert workspace.state(copier.stage, config) == "failed: page 3: broken; mend it"
    with pytest.raises(MissingInputError, match="'copy' has not finished"):
        workspace.record("copy")
    copier.fails_with = None
    assert workspace.perform(copier.stage, config)[1]
    assert workspace.record("copy").state == "done"


@pytest.mark.parametrize("error", [StageError("no"), RuntimeError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_failure_leaves_the_earlier_record_and_its_files(
    error: BaseException, copier: Copier, config: CopyConfig, workspace: Workspace
) -> None:
    workspace.perform(copier.stage, config)
    before = workspace.manifest.read_bytes()
    copier.fails_with = error

    with pytest.raises(type(error)):
        workspace.perform(copier.stage, config.model_copy(update={"times": 5}))

    assert workspace.manifest.read_bytes() == before
    assert workspace.chunks.read_text() == "abc"
    assert not workspace.perform(copier.stage, config)[1], "what stood before still counts"


def test_an_error_without_words_is_recorded_by_its_kind(
    copier: Copier, config: CopyConfig, workspace: Workspace
) -> None:
    copier.fails_with = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        workspace.perform(copier.stage, config)
    assert workspace.state(copier.stage, config) == "failed: KeyboardInterrupt()"


@pytest.fixture
def busy(copier: Copier, config: CopyConfig, workspace: Workspace) -> Iterator[None]:
    """Another thread at work in the run folder until the test ends."""
    begun, ended = threading.Event(), threading.Event()

    def run(config: CopyConfig, workspace: Workspace) -> CopyResult:
        begun.set()
        ended.wait(30)
        return CopyResult(characters=0)

    slow = Stage("slow", CopyResult, copier.inputs, lambda workspace: [], run)
    thread = threading.Thread(target=lambda: workspace.perform(slow, config))
    thread.start()
    assert begun.wait(30)
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("busy")
def test_a_run_folder_takes_one_at_a_time(
    copier: Copier, config: CopyConfig, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(WorkspaceBusyError, match="small"):
        workspace.perform(copier.stage, config)
    assert copier.runs == 0
    assert workspace.records() == {}
    assert workspace.state(copier.stage, config) == "not run", "looking needs no lock"
    assert Workspace(tmp_path / "runs" / "other").perform(copier.stage, config)[1]


KILLED = """
import os, signal, sys
from pathlib import Path
from tuning_room.files import atomic_folder, atomic_writer, of_a_run
from tuning_room.workspace import Stage, StageConfig, StageResult, Workspace
def run(config, workspace):
    with atomic_folder(workspace.adapter, of_a_run) as folder, atomic_writer(workspace.chunks) as out:
        (folder / "weights").write_text("half")
        out.write("half")
        os.kill(os.getpid(), signal.SIGKILL)
stage = Stage("copy", StageResult, lambda c, w: [], lambda w: [w.chunks], run)
Workspace(Path(sys.argv[1])).perform(stage, StageConfig())
"""


def test_a_killed_run_leaves_the_last_result_and_no_litter(
    copier: Copier, config: CopyConfig, workspace: Workspace
) -> None:
    workspace.perform(copier.stage, config)
    before = workspace.manifest.read_bytes()

    killed = subprocess.run([sys.executable, "-c", KILLED, str(workspace.root)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert list(workspace.root.glob(".*.tmp")), "the kill left nothing to clean up"
    assert workspace.manifest.read_bytes() == before
    assert workspace.chunks.read_text() == "abc"
    workspace.perform(copier.stage, config, force=True)
    assert {path.name for path in workspace.root.iterdir()} == {".lock", "manifest.json", "chunks.jsonl"}


def test_stages_have_entries_of_their_own(copier: Copier, config: CopyConfig, workspace: Workspace) -> None:
    other = Copier()
    renamed = Stage("other", CopyResult, other.inputs, lambda workspace: [], other.run)
    workspace.perform(copier.stage, config)
    workspace.perform(renamed, config)
    assert list(workspace.records()) == ["copy", "other"]
    entry = workspace.record("copy")
    assert set(entry.inputs) == {"source.txt"}
    assert set(entry.outputs) == {"chunks.jsonl"}
    assert entry.result == {"characters": 3}
    assert entry.versions == installed_versions()
    assert entry.seconds >= 0


@pytest.mark.parametrize("content", ["[]", "5", '"x"', '{"copy": 1}', '{"copy": {"state": "done"}}', "{"])
def test_a_spoilt_manifest_is_named(content: str, copier: Copier, config: CopyConfig, workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True)
    workspace.manifest.write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json") as caught:
        workspace.perform(copier.stage, config)
    assert caught.value.hint
    assert copier.runs == 0


@given(text=st.text(max_size=20), times=st.integers(1, 3), steps=st.lists(st.sampled_from("tis "), max_size=6))
def test_what_is_on_disk_always_fits_the_last_config(text: str, times: int, steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, copier = Path(folder) / "source", Copier()
        source.write_text(text.replace("\r", ""))
        workspace = Workspace(Path(folder) / "run")
        for step in steps:
            times += step == "t"
            source.write_text(source.read_text() + "+" * (step == "i"))
            if step == "s" and workspace.chunks.exists():
                workspace.chunks.write_text("spoilt")
            workspace.perform(copier.stage, CopyConfig(source=source, times=times))
            assert workspace.chunks.read_text() == source.read_text() * times
        changes = sum(step != " " for step in steps[1:]) + bool(steps)
        assert copier.runs == changes


def reading(*paths: Path) -> Stage[CopyConfig, CopyResult]:
    """Return a stage that reads these and writes nothing."""
    return Stage("read", CopyResult, lambda *_: list(paths), lambda _: [], lambda *_: CopyResult(characters=0))


@pytest.mark.parametrize("change", ["x", "abc ", "", None])
def test_a_stage_reads_only_what_its_maker_wrote(
    change: str | None, copier: Copier, config: CopyConfig, workspace: Workspace
) -> None:
    workspace.perform(copier.stage, config)
    reader = reading(workspace.chunks)
    workspace.perform(reader, config)
    before = workspace.manifest.read_bytes()
    if change is None:
        workspace.chunks.unlink()
    else:
        workspace.chunks.write_text(change)

    what = "is gone" if change is None else "has been changed"
    with pytest.raises(StageError, match=rf"chunks\.jsonl: {what} since 'tuning-room copy' wrote it") as caught:
        workspace.perform(reader, config)
    assert "tuning-room copy" in caught.value.hint
    assert workspace.manifest.read_bytes() == before and workspace.state(reader, config) == "changed"
    workspace.perform(copier.stage, config)
    assert not workspace.perform(reader, config)[1], "it is what it was"


def test_what_no_stage_has_written_is_read_as_it_is(
    copier: Copier, config: CopyConfig, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.perform(copier.stage, config)
    named_alike = tmp_path / "chunks.jsonl"
    named_alike.write_text("of somebody else")
    workspace.candidates.write_text("from elsewhere")
    workspace.perform(reading(named_alike, workspace.candidates), config)


FOREIGN = [
    "recipe.yaml", "documents/thesis.md", "deploy/app.yaml", "thesis.txt", "dataset", "dataset/mine.csv",
    "dataset/train.jsonl", "adapter", "adapter/adapter_model.safetensors", "training/checkpoint-500/model.bin",
    "evaluation/items.jsonl", "generation/mine.txt", "chunks.jsonl", "candidates.jsonl", "model_card.md",
]  # fmt: skip


@pytest.mark.parametrize("beside", ["", ".lock", "manifest.json"])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_that_no_run_has_made_is_left_alone(copier: Copier, tmp_path: Path, name: str, beside: str) -> None:
    """Names that runs use prove nothing: others name their folders so too, and their locks and manifests."""
    root = tmp_path / "theirs"
    (root / name).parent.mkdir(parents=True)
    (root / name).write_text('{"precious": 1}\n')
    if beside:
        (root / beside).write_text('{"name": "an extension"}' if beside == "manifest.json" else "")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    source = tmp_path / "source"
    source.write_text("x")
    top = name.partition("/")[0]
    with pytest.raises(OccupiedError, match=f"theirs: not a run folder, it holds '{top}'") as caught:
        Workspace(root).perform(copier.stage, CopyConfig(source=source))
    assert "--runs" in caught.value.hint
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before and copier.runs == 0


def test_a_lock_that_somebody_else_has_written_stays(copier: Copier, config: CopyConfig, workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True)
    workspace.lock.write_text("held by 77")
    with pytest.raises(OccupiedError, match=r"small: not a run folder, it holds '\.lock'"):
        workspace.perform(copier.stage, config)
    assert workspace.lock.read_text() == "held by 77"


CHUNK = '{"id": "a", "document": "a.md", "headings": [], "text": "t"}\n'
CANDIDATE = '{"id": "a", "source": "seeds", "group": "a", "messages": []}\n'
BROUGHT = {
    "chunks.jsonl": {"chunks.jsonl": CHUNK},
    "candidates.jsonl": {"candidates.jsonl": CANDIDATE, "generation/losers.jsonl": ""},
    "generation": {"generation/answers.jsonl": ""},
    "dataset": {"dataset/train.jsonl": "", "dataset/statistics.json": "{}"},
    "adapter": {"adapter/tuning_room.json": "{}", "model_card.md": "card"},
    "training": {"training/metrics.jsonl": "", "adapter/tuning_room.json": "{}"},
    "job": {"training/trainjob.yaml": "", "dataset/train.jsonl": "", "dataset/statistics.json": "{}"},
    "evaluation": {"evaluation/results.json": "{}"},
    "hidden": {".gitkeep": "", ".lock": ""},
}


@pytest.mark.parametrize("files", BROUGHT.values(), ids=BROUGHT)
def test_a_run_begins_with_what_another_one_made(copier: Copier, tmp_path: Path, files: dict[str, str]) -> None:
    root = tmp_path / "copied"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    source = tmp_path / "source"
    source.write_text("x")
    Workspace(root).perform(copier.stage, CopyConfig(source=source))
    # Now it is a run folder, whatever else somebody puts there.
    (root / "notes.txt").write_text("n")
    Workspace(root).perform(copier.stage, CopyConfig(source=source, times=2))
    (root / "manifest.json").unlink()
    Workspace(root).perform(copier.stage, CopyConfig(source=source, times=2))
    assert copier.runs == 3


def test_a_run_begins_with_links_to_the_rows_and_the_adapter_of_others(
    copier: Copier, config: CopyConfig, workspace: Workspace, tmp_path: Path
) -> None:
    for name in ("dataset", "adapter"):
        (tmp_path / "theirs" / name).mkdir(parents=True)
        workspace.root.mkdir(parents=True, exist_ok=True)
        (workspace.root / name).symlink_to(tmp_path / "theirs" / name)
    assert workspace.perform(copier.stage, config)[1]


def test_what_a_stage_needs_is_asked_for_until_it_has_finished_once(
    copier: Copier, config: CopyConfig, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "require", asked.extend)
    copier.fails_with = StageError("no", hint="try again")
    for _ in range(2):
        with pytest.raises(StageError):
            workspace.perform(copier.stage, config)
    copier.fails_with = None
    workspace.perform(copier.stage, config)
    assert asked == ["copy"] * 3
    workspace.perform(copier.stage, config, force=True)
    assert asked == ["copy"] * 3

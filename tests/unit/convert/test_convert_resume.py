"""What is converted once is not converted again; a bad file, or a worker's death, costs its own document only.

Docling, the documents and the worker processes are real. A worker is killed by a signal in the middle of a document
by standing in for `processes.work` with a program that waits; running out of memory is not tried, only such a death.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import convert_samples as samples
import pytest

from tuning_room.convert import ConvertConfig, ConvertResult, processes, run
from tuning_room.convert.processes import Worker, worker_count
from tuning_room.convert.sources import Source
from tuning_room.convert.store import Task
from tuning_room.errors import DocumentError
from tuning_room.workspace import Workspace


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    (folder / "more").mkdir(parents=True)
    (folder / "a.md").write_text("# A\n\nFirst text.\n")
    (folder / "b.csv").write_text("topic,share\nalgebra,40%\n")
    (folder / "more" / "c.html").write_text(samples.HTML)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "run")


def convert(documents: Path, workspace: Workspace, **knobs: object) -> ConvertResult:
    return run(ConvertConfig.model_validate({"documents": documents, **knobs}), workspace)


def contents(workspace: Workspace) -> dict[str, bytes]:
    files = [workspace.chunks, *(path for path in workspace.documents.rglob("*") if path.is_file())]
    return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in files}


def test_only_what_changed_is_converted_again(documents: Path, workspace: Workspace, tmp_path: Path) -> None:
    assert convert(documents, workspace).reused == 0
    assert convert(documents, workspace).reused == 3
    (documents / "a.md").write_text("# A\n\nOther text.\n")
    (documents / "d.md").write_text("New text.\n")
    (documents / "b.csv").unlink()
    result = convert(documents, workspace)
    assert (result.documents, result.reused) == (3, 1)
    fresh = Workspace(tmp_path / "fresh")
    convert(documents, fresh)
    assert contents(workspace) == contents(fresh)
    assert len(list(workspace.conversions.iterdir())) == 3


def test_a_knob_that_changes_the_content_makes_all_new(documents: Path, workspace: Workspace) -> None:
    convert(documents, workspace)
    assert convert(documents, workspace, max_chunk_characters=300).reused == 0
    assert convert(documents, workspace, max_chunk_characters=300, on_error="skip", workers=1).reused == 3


def test_our_own_code_counts(documents: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(documents, workspace)
    monkeypatch.setattr("tuning_room.convert.store.installed_versions", lambda _packages: {"docling-slim": "0"})
    assert convert(documents, workspace).reused == 0


def test_unchanged_files_need_no_docling(documents: Path, workspace: Workspace) -> None:
    convert(documents, workspace)
    program = f"""
import sys
from pathlib import Path
from tuning_room.convert import ConvertConfig, run
from tuning_room.workspace import Workspace
print(run(ConvertConfig(documents=Path({str(documents)!r})), Workspace(Path({str(workspace.root)!r}))).reused)
print([name for name in ("docling", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["3", "[]"]


def test_a_bad_file_costs_no_other(documents: Path, workspace: Workspace) -> None:
    (documents / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really\n")
    with pytest.raises(DocumentError, match=r"broken\.pdf: not a readable pdf"):
        convert(documents, workspace)
    assert not workspace.chunks.exists()
    (documents / "broken.pdf").unlink()
    assert convert(documents, workspace).reused == 3


def test_all_bad_files_are_named_at_once(documents: Path, workspace: Workspace) -> None:
    (documents / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really\n")
    (documents / "empty.docx").write_bytes(b"")
    with pytest.raises(DocumentError) as error:
        convert(documents, workspace)
    first, *lines = str(error.value).splitlines()
    assert first == "2 of 5 documents cannot be converted"
    assert "broken.pdf: not a readable pdf" in lines[0]
    assert "empty.docx: the file is empty; replace it" in lines[1]
    assert "on_error: skip" in lines[2]


def test_bad_files_may_be_passed_over(documents: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    (documents / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really\n")
    result = convert(documents, workspace, on_error="skip")
    assert (result.documents, [file.name for file in result.failed]) == (3, ["broken.pdf"])
    assert "not a readable pdf" in result.failed[0].error
    assert "broken.pdf: not a readable pdf" in caplog.text
    for path in [documents / "a.md", documents / "b.csv", documents / "more" / "c.html"]:
        path.unlink()
    with pytest.raises(DocumentError, match="not a readable pdf"):
        convert(documents, workspace, on_error="skip")


def test_processes_make_the_same(documents: Path, workspace: Workspace, tmp_path: Path) -> None:
    samples.write_handbook(documents / "handbook.pdf", chapters=1)
    (documents / "empty.md").write_text(" \n")
    result = convert(documents, workspace, workers=2, on_error="skip")
    assert [file.name for file in result.failed] == ["empty.md"]
    alone = Workspace(tmp_path / "alone")
    convert(documents, alone, workers=1, on_error="skip")
    assert contents(workspace) == contents(alone)


def test_few_documents_stay_in_this_process(documents: Path, tmp_path: Path) -> None:
    config = ConvertConfig(documents=documents)
    small = [Task(Source(documents / "a.md", "a.md", "md"), tmp_path, "")]
    assert worker_count(small * 50, config, layout="rules") == 1
    cores = len(os.sched_getaffinity(0))
    images = [Task(Source(documents / "a.md", f"{n}.png", "image"), tmp_path, "") for n in range(500)]
    assert worker_count(images, config, layout="rules") == cores
    assert worker_count(small * 50, config.model_copy(update={"workers": 3}), layout="rules") == 3
    assert worker_count(small, config.model_copy(update={"workers": 3}), layout="rules") == 1


WAITING = "import os, pathlib, time\npathlib.Path({folder!r}, str(os.getpid())).touch()\ntime.sleep(600)\n"


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(processes, "COMMAND", [sys.executable, "-c", program])


def a_task(tmp_path: Path) -> Task:
    return Task(Source(tmp_path / "a.md", "a.md", "md"), tmp_path / "out", "")


def test_a_killed_worker_is_an_error_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "import os, signal\ninput(); input()\nos.kill(os.getpid(), signal.SIGKILL)")
    with Worker(ConvertConfig(documents=tmp_path), threads=1) as worker:
        for _ in range(2):
            with pytest.raises(DocumentError, match=r"a\.md: the process reading it died \(SIGKILL\).*memory"):
                worker.convert(a_task(tmp_path))


def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pids").mkdir()
    stand_in(monkeypatch, WAITING.format(folder=str(tmp_path / "pids")))
    with Worker(ConvertConfig(documents=tmp_path, timeout=2), threads=1) as worker:
        for _ in range(2):
            with pytest.raises(DocumentError, match=r"a\.md: not read within 2 seconds; set a longer 'timeout'"):
                worker.convert(a_task(tmp_path))
        pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
        assert len(pids) == 2
        assert not any(map(is_running, pids))


def test_a_single_pdf_has_a_process_that_can_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "import time; time.sleep(600)")
    samples.write_handbook(tmp_path / "a.pdf", chapters=1)
    task = Task(Source(tmp_path / "a.pdf", "a.pdf", "pdf"), tmp_path / "out", "")
    ((_, error),) = processes.attempts([task], ConvertConfig(documents=tmp_path, timeout=1), layout="rules")
    assert "not read within 1 seconds" in str(error)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "import nothing_of_this_name")
    with (
        Worker(ConvertConfig(documents=tmp_path), threads=1) as worker,
        pytest.raises(DocumentError, match="No module named 'nothing_of_this_name'"),
    ):
        worker.convert(a_task(tmp_path))


def test_warnings_come_out_of_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = json.dumps({"warnings": ["a.md: something is odd"]})
    stand_in(monkeypatch, f"input(); input(); print({answer!r}, flush=True); input()")
    with Worker(ConvertConfig(documents=tmp_path), threads=1) as worker:
        worker.convert(a_task(tmp_path))
    assert caplog.messages == ["a.md: something is odd"]


def test_a_full_disk_is_no_fault_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps({"os_error": [28, "No space left on device", "/full"]})
    stand_in(monkeypatch, f"input(); input(); print({answer!r}, flush=True); input()")
    with (
        Worker(ConvertConfig(documents=tmp_path), threads=1) as worker,
        pytest.raises(OSError, match="No space left"),
    ):
        worker.convert(a_task(tmp_path))


def test_stopping_ends_the_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pids").mkdir()
    stand_in(monkeypatch, WAITING.format(folder=str(tmp_path / "pids")))
    (tmp_path / "a.md").write_text("x")

    def interrupt(futures: object) -> object:
        assert happens(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "as_completed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(processes.attempts([a_task(tmp_path)] * 2, ConvertConfig(documents=tmp_path, workers=2), layout="rules"))
    assert not any(is_running(int(path.name)) for path in (tmp_path / "pids").iterdir())


def test_a_killed_stage_leaves_what_was_done_and_no_process(documents: Path, workspace: Workspace) -> None:
    for number in range(9):
        samples.write_handbook(documents / f"{number}.pdf", chapters=1)
    program = f"""
from pathlib import Path
from tuning_room.convert import ConvertConfig, run
from tuning_room.workspace import Workspace
run(ConvertConfig(documents=Path({str(documents)!r}), workers=2), Workspace(Path({str(workspace.root)!r})))
"""
    stage = subprocess.Popen([sys.executable, "-c", program])
    assert happens(lambda: len(finished(workspace)) >= 1)
    workers = children(stage.pid)
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    assert len(workers) == 2
    assert happens(lambda: not any(map(is_running, workers)))
    done = len(finished(workspace))
    assert 1 <= done < 12
    assert convert(documents, workspace, workers=1).reused == done


def finished(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.conversions.glob("*") if not path.name.startswith(".")]


def happens(condition: Callable[[], bool], seconds: float = 120) -> bool:
    """Wait for a condition; a machine under load needs its time to import Docling."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def children(parent: int) -> list[int]:
    threads = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for thread in threads for pid in thread.read_text().split()]


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text()

"""Whole or absent, and told apart by digest. Real: the file system, and processes that are killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.errors import OccupiedError
from tuning_room.files import (
    Ours,
    atomic_folder,
    atomic_writer,
    digest,
    holding,
    of_a_run,
    refuse_foreign,
    remove_leftovers,
)

NAMES = st.text(st.sampled_from("abcXYZ019._- é"), min_size=1, max_size=12).filter(lambda name: name.strip(". "))
TREES = st.dictionaries(NAMES.filter(lambda name: not name.endswith(".tmp")), st.binary(max_size=40), max_size=5)


class BrokenError(Exception):
    pass


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read_exactly(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


@given(old=st.none() | st.text(), pieces=st.lists(st.text()), fails_after=st.none() | st.integers(0, 5))
def test_a_file_holds_the_old_text_or_all_of_the_new(
    old: str | None, pieces: list[str], fails_after: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        if old is not None:
            path.write_bytes(old.encode("utf-8"))
        try:
            with atomic_writer(path) as out:
                for number, piece in enumerate(pieces):
                    if number == fails_after:
                        raise BrokenError
                    out.write(piece)
            expected: str | None = "".join(pieces)
        except BrokenError:
            expected = old
        assert (read_exactly(path) if path.exists() else None) == expected
        assert names(Path(folder)) <= {"rows.jsonl"}


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic_writer(path) as out:
        out.write("lone surrogate \ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


def test_a_writer_makes_the_folders_above(tmp_path: Path) -> None:
    with atomic_writer(tmp_path / "a" / "b" / "c.txt") as out:
        out.write("x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_until_its_end_nobody_sees_the_new_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_writer(path) as out:
        out.write("new")
        out.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_link_stays_and_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("there.txt")
    with atomic_writer(tmp_path / "link.txt") as out:
        out.write("new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "there.txt").read_text() == "new"


def test_a_device_or_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(OccupiedError, match="not a regular file"), atomic_writer(tmp_path / name) as out:
            out.write("x")
    assert (tmp_path / "pipe").is_fifo() and Path("/dev/null").is_char_device()
    assert names(tmp_path) == {"pipe", "null"}


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "adapter"
    path.mkdir()
    (path / "stale").write_text("old")
    with atomic_folder(path, holding("stale")) as folder:
        assert list(folder.iterdir()) == []
        (folder / "fresh").write_text("new")
        assert names(path) == {"stale"}
    assert names(path) == {"fresh"}
    assert names(tmp_path) == {"adapter"}


def test_a_folder_whose_making_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "adapter"
    path.mkdir()
    (path / "stale").write_text("old")
    with pytest.raises(BrokenError), atomic_folder(path, holding("stale")) as folder:
        (folder / "fresh").write_text("half")
        raise BrokenError
    assert names(path) == {"stale"}
    assert names(tmp_path) == {"adapter"}


def test_a_folder_takes_a_place_that_is_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "new" / "place", tmp_path / "empty"):
        with atomic_folder(place, holding("nothing")) as folder:
            (folder / "x").write_text("1")
        assert names(place) == {"x"}
    assert names(tmp_path) == {"new", "empty"}


@pytest.mark.parametrize("ours", [holding("ours"), holding("sub")])
def test_what_others_made_is_never_replaced(ours: Ours, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "a").write_text("old")
    words = "precious: holds files that Tuning Room did not write"
    with pytest.raises(OccupiedError, match=words), atomic_folder(path, ours):
        pytest.fail("nothing is to be made that cannot take its place")
    assert (path / "sub" / "a").read_text() == "old"
    assert names(tmp_path) == {"precious"}


def test_a_repository_that_somebody_made_of_a_runs_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "deploy" / ".git").mkdir(parents=True)
    with pytest.raises(OccupiedError), atomic_folder(tmp_path / "deploy", of_a_run):
        pytest.fail("nothing is to be made that cannot take its place")
    assert names(tmp_path / "deploy") == {".git"}


def test_what_comes_while_a_folder_is_made_stays(tmp_path: Path) -> None:
    path = tmp_path / "merged"
    with pytest.raises(OccupiedError), atomic_folder(path, holding("ours")) as folder:
        (folder / "ours").write_text("new")
        path.mkdir()
        (path / "theirs").write_text("precious")
    assert names(path) == {"theirs"} and names(tmp_path) == {"merged"}


def test_a_file_and_the_current_folder_are_no_places_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").write_text("notes")
    with pytest.raises(OccupiedError, match="notes: is a file"):
        refuse_foreign(tmp_path / "notes", of_a_run)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OccupiedError, match="here: is the current folder; name a new or empty folder"):
        refuse_foreign(Path(), holding("ours"))


def test_a_link_stays_and_the_folder_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "stale").write_text("old")
    (tmp_path / "link").symlink_to("disk")
    with atomic_folder(tmp_path / "link", holding("stale")) as folder:
        (folder / "fresh").write_text("new")
    assert (tmp_path / "link").is_symlink() and names(tmp_path / "disk") == {"fresh"}
    assert names(tmp_path) == {"disk", "link"}


@pytest.mark.parametrize("there", ["hand-made", "repository", "nothing"])
def test_of_a_run_a_link_alone_is_replaced(there: str, tmp_path: Path) -> None:
    """Its place in a run makes the link ours, not what somebody keeps behind it."""
    target = tmp_path / "elsewhere" / "rows"
    if there != "nothing":
        target.mkdir(parents=True)
        (target / "train.jsonl").write_text("precious")
    if there == "repository":
        (target.parent / ".git").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "dataset").symlink_to(target)
    with atomic_folder(tmp_path / "run" / "dataset", of_a_run) as folder:
        (folder / "train.jsonl").write_text("new")
    assert not (tmp_path / "run" / "dataset").is_symlink()
    assert (tmp_path / "run" / "dataset" / "train.jsonl").read_text() == "new"
    assert names(tmp_path / "run") == {"dataset"}
    if there != "nothing":
        assert (target / "train.jsonl").read_text() == "precious"
        assert not [path for path in target.parent.iterdir() if path.name.endswith((".tmp", ".old"))]


KILLED_IN_A_BLOCK = """
import os, signal, sys
from pathlib import Path
from tuning_room.files import atomic_folder, atomic_writer, of_a_run
root = Path(sys.argv[1])
with atomic_folder(root / "adapter", of_a_run) as folder, atomic_writer(root / "rows.jsonl") as out:
    (folder / "weights").write_text("half")
    out.write("half")
    out.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_BETWEEN_RENAMES = """
import os, signal, sys
from pathlib import Path
from tuning_room.files import atomic_folder, of_a_run
def rename(self, target):
    os.rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename
with atomic_folder(Path(sys.argv[1]) / "adapter", of_a_run) as folder:
    (folder / "weights").write_text("half")
"""


@pytest.mark.parametrize("program", [KILLED_IN_A_BLOCK, KILLED_BETWEEN_RENAMES], ids=["block", "renames"])
def test_a_killed_process_costs_nothing(program: str, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_text("old")
    (tmp_path / "rows.jsonl").write_text("old")

    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) != {"adapter", "rows.jsonl"}, "the kill left nothing to clean up"
    remove_leftovers(tmp_path)

    assert names(tmp_path) == {"adapter", "rows.jsonl"}
    assert (tmp_path / "adapter" / "weights").read_text() == "old"
    assert (tmp_path / "rows.jsonl").read_text() == "old"


def test_leftovers_in_subfolders_go_and_the_rest_stays(tmp_path: Path) -> None:
    deep = tmp_path / "evaluation" / "samples"
    deep.mkdir(parents=True)
    (deep / ".base.jsonl.77.tmp").write_text("half")
    (deep / ".cards.v2.77.old").mkdir()
    (deep / ".cards.v2.77.old" / "card").write_text("whole")
    (deep / "kept.old").write_text("")
    (deep / ".notes.tmp").write_text("somebody else's")
    (tmp_path / ".lock").write_text("")
    remove_leftovers(tmp_path)
    assert names(deep) == {"kept.old", "cards.v2", ".notes.tmp"}
    assert names(tmp_path) == {"evaluation", ".lock"}


def test_a_linked_folder_is_put_back_after_a_kill_between_two_renames(tmp_path: Path) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    run.mkdir()
    for number, text in ((66, "older"), (77, "old")):
        (elsewhere / f".adapter.{number}.new").mkdir(parents=True)
        (elsewhere / f".adapter.{number}.new" / "weights").write_text(text)
        (elsewhere / f".adapter.{number}.new").rename(elsewhere / f".adapter.{number}.old")
        time.sleep(0.02)  # a rename's time is how the newest one is told
    (elsewhere / ".another.77.old").mkdir()
    (elsewhere / ".adapter.77.tmp").mkdir()
    (run / "adapter").symlink_to(elsewhere / "adapter")
    remove_leftovers(run)
    assert (run / "adapter").is_symlink() and (run / "adapter" / "weights").read_text() == "old"
    # Somebody else may be at work there.
    assert names(elsewhere) == {"adapter", ".adapter.66.old", ".another.77.old", ".adapter.77.tmp"}


def test_a_replaced_link_is_put_back_after_a_kill_and_litter_goes(tmp_path: Path) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    for folder in (elsewhere / "adapter", run / "dataset"):
        folder.mkdir(parents=True)
    (elsewhere / "adapter" / "weights").write_text("precious")
    for name in ("adapter", "dataset"):
        (run / f".{name}.77.old").symlink_to(elsewhere / "adapter")
    remove_leftovers(run)
    assert (run / "adapter").is_symlink() and names(run) == {"adapter", "dataset"}
    assert (elsewhere / "adapter" / "weights").read_text() == "precious"


def write_tree(root: Path, files: dict[str, bytes]) -> None:
    root.mkdir()
    for name, content in files.items():
        (root / name).write_bytes(content)


@given(files=TREES)
def test_a_digest_depends_on_names_and_contents_alone(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "one", Path(folder) / "other"
        write_tree(one, files)
        write_tree(other, dict(reversed(files.items())))
        assert digest(one) == digest(other) != ""
        for name, content in files.items():
            (other / name).write_bytes(content + b"!")
            assert digest(one) != digest(other)
            (other / name).write_bytes(content)
        (other / "one more").write_bytes(b"")
        assert digest(one) != digest(other)


def moved(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "a").rename(folder / "sub" / "a")


def swapped(folder: Path) -> None:
    (folder / "a").write_bytes(b"2")
    (folder / "b").write_bytes(b"1")


@pytest.mark.parametrize("change", [moved, swapped, lambda folder: (folder / "b").unlink()])
def test_a_moved_swapped_or_missing_file_changes_the_digest(change: Callable[[Path], None], tmp_path: Path) -> None:
    write_tree(tmp_path / "x", {"a": b"1", "b": b"2"})
    before = digest(tmp_path / "x")
    change(tmp_path / "x")
    assert digest(tmp_path / "x") != before


def test_what_passes_does_not_count(tmp_path: Path) -> None:
    write_tree(tmp_path / "x", {"a": b"1"})
    before = digest(tmp_path / "x")
    (tmp_path / "x" / ".a.12.tmp").write_text("half")
    (tmp_path / "x" / "__pycache__").mkdir()
    (tmp_path / "x" / "__pycache__" / "a.pyc").write_text("")
    assert digest(tmp_path / "x") == before


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    assert digest(tmp_path / "nowhere") == ""
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert digest(tmp_path / "gone") == ""


def test_a_file_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path)


def test_a_name_that_is_not_utf8_has_a_digest(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    assert digest(tmp_path)

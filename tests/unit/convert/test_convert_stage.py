"""The convert stage from files to chunks. Docling and every document are real; nothing is faked."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import convert_samples as samples
import pytest
from docling_core.types.doc import DoclingDocument
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from tuning_room.convert import STAGE, ConvertConfig, ConvertResult, run
from tuning_room.convert.reader import docling_warnings
from tuning_room.convert.sources import Source
from tuning_room.errors import DocumentError
from tuning_room.records import Chunk, read_jsonl
from tuning_room.workspace import Workspace


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> tuple[ConvertResult, Workspace]:
    """A folder with one document a format, converted once for all tests that only look."""
    folder = tmp_path_factory.mktemp("course")
    documents = folder / "documents"
    (documents / "more").mkdir(parents=True)
    samples.write_handbook(documents / "handbook.pdf")
    samples.write_slides(documents / "moves.pptx")
    samples.write_word(documents / "syllabus.docx")
    (documents / "faq.html").write_text(samples.HTML)
    (documents / "more" / "faq.md").write_text("# Questions\n\nPlain x_1 < 2.\n\n```python\nprint(1)\n```\n")
    (documents / "rates.csv").write_text("topic,share\nalgebra,40%\n")
    (documents / "notes.adoc").write_text("= Notes\n\n== First\n\nSome text.\n")
    (documents / "photo.gif").write_bytes(b"GIF89a")
    (documents / ".hidden.md").write_text("secret")
    workspace = Workspace(folder / "run")
    return run(ConvertConfig(documents=documents), workspace), workspace


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    return folder


def chunks_of(course: tuple[ConvertResult, Workspace], document: str) -> list[Chunk]:
    return [chunk for chunk in read_jsonl(course[1].chunks, Chunk) if chunk.document == document]


def test_handbook_problem_is_one_chunk(course: tuple[ConvertResult, Workspace]) -> None:
    problems = [chunk for chunk in chunks_of(course, "handbook.pdf") if chunk.headings[-1].startswith("Problem ")]
    assert [chunk.headings for chunk in problems] == [
        [f"Chapter {c}: Topic of week {c}", "Problems", f"Problem {c}.{p}: Splitting a bill"]
        for c in range(1, 4)
        for p in range(1, samples.PROBLEMS + 1)
    ]
    for chunk in problems:
        assert chunk.items == list(samples.NOTES)
        assert chunk.text == "\n\n".join(
            [samples.STATEMENT, "Guidance", "\n".join(f"- {note}" for note in samples.NOTES)]
        )


def test_handbook_table_has_all_rows(course: tuple[ConvertResult, Workspace]) -> None:
    keys = [chunk for chunk in chunks_of(course, "handbook.pdf") if chunk.headings[-1] == "Answer key"]
    assert len(keys) == 3
    rows = "\n".join(f"| 2.{p} | x = {p} |" for p in range(1, samples.PROBLEMS + 1))
    assert keys[1].text == f"| Problem | Answer |\n| --- | --- |\n{rows}"


def test_running_heads_are_left_out(course: tuple[ConvertResult, Workspace]) -> None:
    text = (course[1].documents / "handbook.pdf.md").read_text()
    assert "Tutor Handbook" not in text
    assert not any(line.strip().isdigit() for line in text.splitlines())


def test_font_changes_stay_within_a_paragraph(course: tuple[ConvertResult, Workspace]) -> None:
    opening = chunks_of(course, "handbook.pdf")[0]
    assert opening.text == samples.OPENING.replace("<b>", "").replace("</b>", "")
    assert (opening.headings, opening.page) == (["Chapter 1: Topic of week 1"], 1)


def test_ids_are_unique_and_numbered(course: tuple[ConvertResult, Workspace]) -> None:
    chunks = list(read_jsonl(course[1].chunks, Chunk))
    assert len({chunk.id for chunk in chunks}) == len(chunks) == course[0].chunks
    assert chunks_of(course, "handbook.pdf")[3].id == "handbook.pdf#0004"


def test_slides_keep_their_notes(course: tuple[ConvertResult, Workspace]) -> None:
    first, second = chunks_of(course, "moves.pptx")
    assert (first.headings, first.page) == (["Tutoring Moves"], 1)
    assert (second.headings, second.page) == (["One reply, one question"], 2)
    assert second.items == ["Read the message twice.", "Pick one step."]
    assert second.text.endswith("A reply with three questions is an exam.")
    assert "three questions" in (course[1].documents / "moves.pptx.md").read_text()


def test_word_headings_lists_and_tables(course: tuple[ConvertResult, Workspace]) -> None:
    policies, tests = chunks_of(course, "syllabus.docx")
    assert policies.headings == ["Syllabus", "Policies"]
    assert policies.text == "Worksheets are handed in on paper, and late ones count for half."
    assert tests.headings == ["Syllabus", "Policies", "Tests"]
    assert tests.items == ["Canopy is closed during tests.", "Bring a pen."]
    assert tests.text.endswith("| Part | Share |\n| --- | --- |\n| Final test | 40% |")


def test_html_lists_and_tables(course: tuple[ConvertResult, Workspace]) -> None:
    ask, covers = chunks_of(course, "faq.html")
    assert ask.text.startswith("Write the whole problem.\n\n- Copy it as it stands.\n- Say what you have tried.")
    assert ask.items == ["Copy it as it stands.", "Say what you have tried.", "Even when it is wrong."]
    assert covers.text == "| Topic | Example |\n| --- | --- |\n| Algebra | a \\| b |"


def test_markdown_is_not_escaped(course: tuple[ConvertResult, Workspace]) -> None:
    assert "Plain x_1 < 2." in (course[1].documents / "more" / "faq.md.md").read_text()
    assert chunks_of(course, "more/faq.md")[0].text.startswith("Plain x_1 < 2.")


def test_json_is_lossless(course: tuple[ConvertResult, Workspace]) -> None:
    document = DoclingDocument.load_from_json(course[1].documents / "handbook.pdf.json")
    assert len(document.tables) == 3
    assert document.tables[0].data.num_rows == samples.PROBLEMS + 1


def test_result_counts(course: tuple[ConvertResult, Workspace]) -> None:
    result = course[0]
    assert result.documents == len(result.files) == 7
    handbook = next(file for file in result.files if file.name == "handbook.pdf")
    assert (handbook.tables, handbook.headings, handbook.layout) == (3, 3 * (3 + samples.PROBLEMS), "rules")
    assert handbook.list_items == 3 * samples.PROBLEMS * len(samples.NOTES)
    assert {skipped.name for skipped in result.skipped} == {"photo.gif", ".hidden.md"}
    assert all(file.layout == "" for file in result.files if not file.name.endswith(".pdf"))


def test_stage_is_not_run_twice(documents: Path, tmp_path: Path) -> None:
    (documents / "a.md").write_text("# A\n\nText.\n")
    workspace, config = Workspace(tmp_path / "run"), ConvertConfig(documents=documents)
    first, was_run = workspace.perform(STAGE, config)
    again, was_run_again = workspace.perform(STAGE, config)
    assert (was_run, was_run_again) == (True, False)
    assert again == first
    (documents / "a.md").write_text("# A\n\nOther text.\n")
    assert workspace.perform(STAGE, config)[1]


def test_long_section_is_cut_between_items(documents: Path, tmp_path: Path) -> None:
    notes = [f"Note {number} says to ask for the next step and to wait." for number in range(20)]
    (documents / "a.md").write_text("# Title\n\nStatement.\n\n" + "\n".join(f"- {note}" for note in notes))
    workspace = Workspace(tmp_path / "run")
    run(ConvertConfig(documents=documents, max_chunk_characters=300), workspace)
    chunks = list(read_jsonl(workspace.chunks, Chunk))
    assert len(chunks) > 2
    assert [item for chunk in chunks for item in chunk.items] == notes
    assert all(len(chunk.text) <= 300 and chunk.headings == ["Title"] for chunk in chunks)


def write_locked_pdf(path: Path) -> None:
    canvas = Canvas(str(path), encrypt=StandardEncryption("secret"))
    canvas.drawString(72, 700, "Nobody can read this.")
    canvas.save()


def write_blank_pdf(path: Path) -> None:
    canvas = Canvas(str(path))
    canvas.showPage()
    canvas.save()


def write_half_pdf(path: Path) -> None:
    samples.write_handbook(path, chapters=1)
    path.write_bytes(path.read_bytes()[:3000])


BAD = {
    "half.pdf": (write_half_pdf, "not a readable pdf"),
    "text.pdf": (lambda path: path.write_text("This is no PDF.\n" * 9), "not a readable pdf"),
    "locked.pdf": (write_locked_pdf, "save a copy without a password"),
    "blank.pdf": (write_blank_pdf, "no text in this document"),
    "word.pdf": (samples.write_word, "the content is docx, not pdf"),
    "word.pptx": (samples.write_word, "the content is docx, not pptx"),
    "text.docx": (lambda path: path.write_text("This is no Word file."), "not a readable docx"),
    "locked.docx": (lambda path: path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") * 64), "without a password"),
    "empty.pptx": (lambda path: path.write_bytes(b""), "the file is empty"),
    "spaces.md": (lambda path: path.write_text(" \n\n"), "no text in this document"),
    "bytes.md": (lambda path: path.write_bytes(bytes(range(256)) * 9), r"bytes.md:2: byte 129 of the file \(0x80\)"),
    "empty.html": (lambda path: path.write_text("<html><body></body></html>"), "no text in this document"),
    "headings.md": (lambda path: path.write_text("# One\n\n## Two\n"), "headings but no text"),
}


def published(workspace: Workspace) -> dict[Path, bytes]:
    """Everything in a run folder but the conversions that are kept for the next time."""
    files = (path for path in workspace.root.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if not path.is_relative_to(workspace.conversions)}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_named_and_nothing_is_published(
    name: str, documents: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write, reason = BAD[name]
    (documents / "a.md").write_text("# A\n\nText.\n")
    workspace, config = Workspace(tmp_path / "run"), ConvertConfig(documents=documents)
    run(config, workspace)
    before = published(workspace)
    (documents / "a.md").write_text("# A\n\nNew text.\n")
    write(documents / name)
    with caplog.at_level(logging.WARNING), pytest.raises(DocumentError, match=reason) as error:
        run(config, workspace)
    assert str(documents / name) in str(error.value)
    assert error.value.hint
    assert published(workspace) == before
    assert not caplog.records


def test_missing_and_empty_folder(documents: Path, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such folder"):
        run(ConvertConfig(documents=tmp_path / "nowhere"), Workspace(tmp_path / "run"))
    (documents / "photo.gif").write_bytes(b"GIF89a")
    with pytest.raises(DocumentError, match="no document found"):
        run(ConvertConfig(documents=documents), Workspace(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_text_in_an_older_encoding_is_refused_with_the_place(documents: Path, tmp_path: Path) -> None:
    (documents / "old.txt").write_bytes("Fine.\nDer Würfel fällt.\n".encode("latin-1"))
    with pytest.raises(DocumentError, match=r"old.txt:2: byte 12 of the file \(0xfc\) is not UTF-8; save the file"):
        run(ConvertConfig(documents=documents), Workspace(tmp_path / "run"))


def test_warning_names_the_file(caplog: pytest.LogCaptureFixture) -> None:
    with docling_warnings(Source(Path("folder/odd.md"), "odd.md", "md")):
        logging.getLogger("docling.backend").warning("something is odd")
    assert caplog.messages == ["folder/odd.md: something is odd"]
    assert caplog.records[0].name.startswith("tuning_room")


def test_config_imports_nothing_heavy() -> None:
    heavy = "[name for name in ('docling', 'torch', 'rich') if name in sys.modules]"
    code = f"import sys, tuning_room.convert.config; print({heavy})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.replace("'", '"')) == []

"""Every word of a generated document is in its markdown and its chunks, in order. Docling is real; so are the files.

A document is a list of blocks. Its words are numbered ("w1", "w2", ...), so that one that is lost, doubled or moved
shows; what stands between them (formats, signs, spaces or none) is drawn.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.reader import DoclingReader
from tuning_room.convert.seen import bare_words, markdown_text, page_text
from tuning_room.convert.sources import FORMATS, Source
from tuning_room.convert.store import Task, convert_document
from tuning_room.files import digest
from tuning_room.records import Chunk, read_json, read_jsonl

KINDS = ("paragraph", "heading", "list", "table", "cell_list")
STYLES = ("plain", "bold", "italic", "raised", "lowered", "struck", "link")
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Piece(NamedTuple):
    """A word as it is set, and whether a space stands before it."""

    word: str
    style: str
    spaced: bool


class Block(NamedTuple):
    """A heading, paragraph, list or table: lines of pieces."""

    kind: str
    lines: list[list[Piece]]


class Outcome(NamedTuple):
    """What a document became."""

    markdown: str
    chunks: list[Chunk]
    left_out: list[str]
    missing: list[str]


@st.composite
def documents(draw: st.DrawFn) -> list[Block]:
    """A document of one to five blocks; below a heading, there is always something else."""
    numbers = count(1)
    kinds = [*draw(st.lists(st.sampled_from(KINDS), max_size=4)), draw(st.sampled_from(("paragraph", "list")))]
    kinds = [kind for kind, below in pairwise([*kinds, ""]) if (kind, below) != ("heading", "heading")]
    return [_block(draw, kind, numbers) for kind in kinds]


def _block(draw: st.DrawFn, kind: str, numbers: Iterator[int]) -> Block:
    lines = draw(st.integers(1, 3)) if kind != "heading" and kind != "paragraph" else 1
    styles = ("plain",) if kind == "heading" else STYLES
    return Block(kind, [_line(draw, styles, numbers) for _ in range(2 * lines if kind == "table" else lines)])


def _line(draw: st.DrawFn, styles: tuple[str, ...], numbers: Iterator[int]) -> list[Piece]:
    words = [f"w{next(numbers)}x" for _ in range(draw(st.integers(1, 4)))]
    return [
        Piece(word, draw(st.sampled_from(styles)) if index else "plain", not index or draw(st.booleans()))
        for index, word in enumerate(words)
    ]


def words_of(document: list[Block]) -> list[str]:
    return [piece.word for block in document for line in block.lines for piece in line]


def html_of(document: list[Block]) -> str:
    """A page without as much as a body."""
    return "\n".join(_html_block(block) for block in document)


def _html_block(block: Block) -> str:
    lines = [_html_line(line) for line in block.lines]
    items = "".join(f"<li>{line}</li>" for line in lines)
    if block.kind == "table":
        rows = zip(lines[::2], lines[1::2], strict=True)
        return f"<table>{''.join(f'<tr><td>{one}</td><td>{two}</td></tr>' for one, two in rows)}</table>"
    return {
        "paragraph": f"<p>{lines[0]}</p>",
        "heading": f"<h2>{lines[0]}</h2>",
        "list": f"<ul>{items}</ul>",
        "cell_list": f"<table><tr><td><ul>{items}</ul></td><td>-</td></tr></table>",
    }[block.kind]


HTML_TAGS = {
    "bold": "b",
    "italic": "em",
    "raised": "sup",
    "lowered": "sub",
    "struck": "del",
    "link": 'a href="https://e.org"',
}


def _html_line(line: list[Piece]) -> str:
    return "".join(f"{' ' * piece.spaced}{_html_piece(piece)}" for piece in line).strip()


def _html_piece(piece: Piece) -> str:
    tag = HTML_TAGS.get(piece.style)
    return f"<{tag}>{escape(piece.word)}</{tag.split()[0]}>" if tag else piece.word


def markdown_of(document: list[Block]) -> str:
    return "\n\n".join(_markdown_block(block) for block in document) + "\n"


def _markdown_block(block: Block) -> str:
    lines = ["".join(f"{' ' * piece.spaced}{_markdown_piece(piece)}" for piece in line).strip() for line in block.lines]
    if block.kind == "table":
        rows = [f"| {one} | {two} |" for one, two in zip(lines[::2], lines[1::2], strict=True)]
        return "\n".join([rows[0], "| --- | --- |", *rows[1:]])
    items = "".join(f"<li>{line}</li>" for line in lines)
    return {
        "paragraph": lines[0],
        "heading": f"## {lines[0]}",
        "list": "\n".join(f"- {line}" for line in lines),
        "cell_list": f"| a | b |\n| --- | --- |\n| <ul>{items}</ul> | c |",
    }[block.kind]


def _markdown_piece(piece: Piece) -> str:
    sign = {"bold": "**", "italic": "*", "struck": "~~"}.get(piece.style, "")
    tag = {"raised": "sup", "lowered": "sub"}.get(piece.style)
    if piece.style == "link":
        return f"[{piece.word}](https://e.org/a_b)"
    return f"<{tag}>{piece.word}</{tag}>" if tag else f"{sign}{piece.word}{sign}"


def write_word(document: list[Block], path: Path) -> None:
    from docx import Document

    file = Document()
    for block in document:
        if block.kind in ("table", "cell_list"):
            _word_table(file, block)
        else:
            styles = {"paragraph": None, "heading": "Heading 2", "list": "List Bullet"}
            for line in block.lines:
                _word_line(file.add_paragraph(style=styles[block.kind]), line)
    file.save(str(path))


def _word_table(file: Any, block: Block) -> None:
    if block.kind == "table":
        cells = file.add_table(rows=len(block.lines) // 2, cols=2)._cells
        for cell, line in zip(cells, block.lines, strict=True):
            _word_line(cell.paragraphs[0], line)
        return
    cell = file.add_table(rows=1, cols=2).cell(0, 0)
    for line in block.lines:
        _word_line(cell.add_paragraph(style="List Bullet"), line)


def _word_line(paragraph: Any, line: list[Piece]) -> None:
    for piece in line:
        run = paragraph.add_run(f"{' ' * piece.spaced}{piece.word}")
        run.bold, run.italic = piece.style == "bold" or None, piece.style == "italic" or None
        run.font.superscript = piece.style == "raised" or None
        run.font.subscript = piece.style == "lowered" or None
        run.font.strike = piece.style == "struck" or None


def write_slides(document: list[Block], path: Path) -> None:
    """A slide a block, since what stands on one slide is read by its place there."""
    from pptx import Presentation
    from pptx.util import Inches

    file = Presentation()
    for block in document:
        slide = file.slides.add_slide(file.slide_layouts[6])
        if block.kind in ("table", "cell_list"):
            table = slide.shapes.add_table(max(1, len(block.lines) // 2), 2, 0, 0, Inches(4), Inches(2)).table
            cells = list(table.iter_cells())
            for index, line in enumerate(block.lines):
                frame = (cells[index] if block.kind == "table" else cells[0]).text_frame
                is_first = block.kind == "table" or index == 0
                _slide_line(frame.paragraphs[0] if is_first else frame.add_paragraph(), line)
        else:
            frame = slide.shapes.add_textbox(0, 0, Inches(4), Inches(2)).text_frame
            for index, line in enumerate(block.lines):
                _slide_line(frame.add_paragraph() if index else frame.paragraphs[0], line)
    file.save(str(path))


def _slide_line(paragraph: Any, line: list[Piece]) -> None:
    for piece in line:
        run = paragraph.add_run()
        run.text = f"{' ' * piece.spaced}{piece.word}"
        if piece.style in ("raised", "lowered"):
            run.font._element.set("baseline", "30000" if piece.style == "raised" else "-25000")
        if piece.style == "struck":
            run.font._element.set("strike", "sngStrike")


@pytest.fixture(scope="module")
def outcome_of() -> Callable[[str, Callable[[Path], object]], Outcome]:
    """Convert one file, by its name and what writes it."""
    config = ConvertConfig()
    reader = DoclingReader(config)

    def convert(name: str, write: Callable[[Path], object]) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            path, result = Path(folder) / name, Path(folder) / "result"
            write(path)
            source = Source(path, name, FORMATS[path.suffix])
            convert_document(Task(source, result, digest(path)), reader, config)
            report = read_json(result / "report.json")
            chunks = list(read_jsonl(result / "chunks.jsonl", Chunk))
            markdown = (result / "document.md").read_text()
            return Outcome(markdown, chunks, report["left_out"], report["missing"])

    return convert


Convert = Callable[[str, Callable[[Path], object]], Outcome]


def assert_whole(outcome: Outcome, expected: list[str]) -> None:
    """Each word is there once and in its place, glued to its neighbours or not, and nothing is said to be missing."""
    texts = "\n".join(text for chunk in outcome.chunks for text in (*dict.fromkeys(chunk.headings), chunk.text))
    assert re.findall(r"w\d+x", outcome.markdown) == expected
    assert list(dict.fromkeys(re.findall(r"w\d+x", texts))) == expected
    assert (outcome.left_out, outcome.missing) == ([], [])
    assert not re.search("[\ufdd0-\ufdef]", outcome.markdown + texts)


def assert_glued(outcome: Outcome, document: list[Block]) -> None:
    """Words that no space parts are not parted, and those that one parts are not glued together."""
    texts = " ".join([outcome.markdown, *(chunk.text for chunk in outcome.chunks)])
    for line in (line for block in document for line in block.lines):
        for before, piece in pairwise(line):
            between = re.compile(rf"{before.word}([^w]*?(?:\(https[^)]*\)[^w]*?)?){piece.word}")
            assert all((" " in found) == piece.spaced for found in between.findall(texts)), (before, piece, texts)


@few
@given(document=documents())
def test_web_pages(document: list[Block], outcome_of: Convert) -> None:
    outcome = outcome_of("a.html", lambda path: path.write_text(html_of(document)))
    assert_whole(outcome, words_of(document))
    assert_glued(outcome, document)


@few
@given(document=documents(), html=st.booleans())
def test_markdown(document: list[Block], html: bool, outcome_of: Convert) -> None:
    text = markdown_of(document) + "\n<p>w0x</p>\n" * html
    outcome = outcome_of("a.md", lambda path: path.write_text(text))
    assert_whole(outcome, words_of(document) + ["w0x"] * html)
    assert_glued(outcome, document)


@few
@given(document=documents())
def test_word_files(document: list[Block], outcome_of: Convert) -> None:
    outcome = outcome_of("a.docx", lambda path: write_word(document, path))
    assert_whole(outcome, words_of(document))
    assert_glued(outcome, document)


@few
@given(document=documents())
def test_slides(document: list[Block], outcome_of: Convert) -> None:
    outcome = outcome_of("a.pptx", lambda path: write_slides(document, path))
    assert_whole(outcome, words_of(document))
    assert_glued(outcome, document)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.text("ab<>#*_`[]()|\\&;~-+1.\t é½", max_size=12), min_size=1, max_size=8))
def test_plain_text(lines: list[str], outcome_of: Convert) -> None:
    text = "\n".join([*lines, "end"])
    outcome = outcome_of("a.txt", lambda path: path.write_text(text))
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert [line.rstrip() for line in outcome.markdown.splitlines() if line.strip()] == kept
    found = [line for chunk in outcome.chunks for line in chunk.text.splitlines() if line.strip()]
    assert [line.rstrip() for line in found] == kept
    assert not any(chunk.headings for chunk in outcome.chunks)


@given(document=documents())
def test_the_second_opinion_sees_every_word(document: list[Block]) -> None:
    expected = bare_words(" ".join(words_of(document)))
    seen = bare_words(" ".join(re.findall(r"w\d+x", page_text(html_of(document)))))
    assert seen == expected
    assert bare_words(" ".join(re.findall(r"w\d+x", markdown_text(markdown_of(document))))) == expected


LOST = {
    "picture.html": (
        "<p>Text.</p><img src='a.png' alt='A red ball'>",
        "alternative texts of pictures: 3 words (a red ball)",
    ),
    "comment.html": ("<p>Text.</p><p aria-hidden='true'>drawn twice</p>", "not in the markdown: 2 words (drawn twice)"),
    "menu.html": (
        "<nav><a href='/'>Home</a></nav><p>Text.</p>",
        "page furniture (menus, running heads and the like): 1 word (home)",
    ),
    "heading.md": ("Text.\n\n# Nothing below\n", "not in the chunks: 2 words (nothing below)"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_is_said(name: str, outcome_of: Convert) -> None:
    text, note = LOST[name]
    outcome = outcome_of(name, lambda path: path.write_text(text))
    assert outcome.left_out + outcome.missing == [note]


def test_quotations_within_each_other_have_an_end(outcome_of: Convert) -> None:
    outcome = outcome_of("a.md", lambda path: path.write_text("> " * 60 + "deep\n\nText.\n"))
    assert "deep" in outcome.markdown and outcome.missing == []

"""How rules read the structure of a page. Lines and rulings are made up; the PDFs in the second half are real."""

import random
import re
from collections import Counter
from pathlib import Path

import convert_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reportlab.lib import colors
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, PageBreak, Paragraph, Spacer, Table, TableStyle

from tuning_room.convert.aligned_tables import aligned_grid, cell_lines, level_frames
from tuning_room.convert.boxes import Box
from tuning_room.convert.chunks import document_chunks
from tuning_room.convert.columns import column_order, gutters
from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.outline import Bookmark, PageHeading, levels, titled
from tuning_room.convert.page_layout import Block, PageRules
from tuning_room.convert.reader import DoclingReader
from tuning_room.convert.sources import Source
from tuning_room.convert.tables import ruled_grids
from tuning_room.convert.typography import Page, Run, Typography, describe, is_bold, label_key, read_typography
from tuning_room.convert.unruled_tables import unruled_grids
from tuning_room.records import Chunk

DEJAVU = Path("/usr/share/fonts/truetype/dejavu")


def line(text: str, top: float, left: float = 72, size: float = 10, right: float = 0) -> tuple[Box, str]:
    """Return a cell of the parser: about half its size wide a letter."""
    return Box(left, top, right or left + 0.5 * size * len(text), top + size), text


def blocks_of(*cells: tuple[Box, str], bold: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return kind and text of the blocks that lines make on an A4 page with body text of 10 points."""
    runs = [Run(*box, box.bottom, box.bottom - box.top, text in bold, text) for box, text in cells]
    often = Counter(label_key(text) for text in (text for _, text in cells) if text in bold)
    rules = PageRules(Typography(line_step=1.3, runs={1: runs}, bold_lines=often), number=1, height=842)
    return [(block.kind, joined(block)) for block in rules.blocks(cells)]


def joined(block: Block) -> str:
    return " ".join(part.text for part in block.lines)


def test_lines_of_a_paragraph_are_joined_and_a_gap_parts_paragraphs() -> None:
    found = blocks_of(line("one two", 100), line("three", 113), line("four", 131))
    assert found == [("text", "one two three"), ("text", "four")]


def test_large_lines_are_headings_and_body_sized_bold_is_not() -> None:
    found = blocks_of(line("Problem 1", 100, size=11.5), line("Guidance", 120), line("• Ask.", 133), bold=("Guidance",))
    assert found == [("heading", "Problem 1"), ("text", "Guidance"), ("list_item", "• Ask.")]


def test_numbered_bold_line_is_a_heading() -> None:
    assert blocks_of(line("2.1 Method", 100), bold=("2.1 Method",)) == [("heading", "2.1 Method")]


def test_many_large_lines_are_a_paragraph() -> None:
    assert [kind for kind, _ in blocks_of(*(line("words " * 9, 100 + 16 * n, size=13) for n in range(4)))] == ["text"]


def test_bullet_apart_from_its_text_and_hanging_line() -> None:
    found = blocks_of(line("•", 100), line("Ask what", 100, left=90), line("comes next.", 113, left=90))
    assert found == [("list_item", "• Ask what comes next.")]


def test_number_at_the_start_of_a_wrapped_line_is_no_item() -> None:
    found = blocks_of(line("How much is 4 + 3 times x times", 100, right=500), line("12. Then add it.", 113))
    assert found == [("text", "How much is 4 + 3 times x times 12. Then add it.")]


def test_numbered_list() -> None:
    found = blocks_of(line("Do this in turn:", 100, right=500), line("1. Read.", 118), line("2. Ask.", 131))
    assert found == [("text", "Do this in turn:"), ("list_item", "1. Read."), ("list_item", "2. Ask.")]


def test_columns_are_not_mixed() -> None:
    found = blocks_of(
        line("left a", 100), line("right a", 100, left=320), line("left b", 113), line("right b", 113, left=320)
    )
    assert sorted(found) == [("text", "left a left b"), ("text", "right a right b")]


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=30),
            st.floats(0, 800),
            st.floats(0, 500),
            st.sampled_from([8.0, 10.0, 13.0]),
        ),
        max_size=12,
    )
)
def test_every_cell_with_text_is_in_exactly_one_block(cells: list[tuple[str, float, float, float]]) -> None:
    given_cells = [line(text, top, left, size) for text, top, left, size in cells]
    blocks = PageRules(Typography(), 1, 842).blocks(given_cells)
    placed = sorted(index for block in blocks for index in block.cells)
    assert placed == [index for index, (_, text) in enumerate(given_cells) if text.strip()]


def grid_lines(columns: list[float], rows: list[float]) -> list[Box]:
    level = [Box(columns[0], y, columns[-1], y) for y in rows]
    return level + [Box(x, rows[0], x, rows[-1]) for x in columns]


@given(st.integers(2, 5), st.integers(2, 6), st.floats(8, 90), st.floats(8, 40))
def test_grid_has_a_cell_a_slot(columns: int, rows: int, width: float, height: float) -> None:
    lines = grid_lines([50 + width * n for n in range(columns)], [90 + height * n for n in range(rows)])
    grids = ruled_grids(lines)
    cells = (columns - 1) * (rows - 1)
    assert [len(grid.cells) for grid in grids] == ([cells] if cells > 1 else [])


def test_missing_line_merges_cells() -> None:
    lines = [*grid_lines([0, 100], [0, 20, 40]), Box(50, 20, 50, 40)]
    (grid,) = ruled_grids(lines)
    assert [(cell.row, cell.column, cell.row_end, cell.column_end) for cell in grid.cells] == [
        (0, 0, 1, 2),
        (1, 0, 2, 1),
        (1, 1, 2, 2),
    ]


def test_table_open_at_its_sides() -> None:
    (grid,) = ruled_grids([Box(0, y, 100, y) for y in (0, 20, 40)] + [Box(50, 0, 50, 40)])
    assert len(grid.cells) == 4


def test_lines_that_are_no_table() -> None:
    assert ruled_grids([Box(0, 10, 500, 10), Box(0, 400, 500, 400)]) == []
    assert ruled_grids(grid_lines([0, 100], [0, 50])) == []


def test_words_are_read_line_by_line() -> None:
    words = [(Box(30, 0, 50, 10), "two"), (Box(0, 1, 20, 10), "one"), (Box(0, 12, 20, 22), "three")]
    assert cell_lines(words) == ["one two", "three"]


def test_running_heads_by_text_and_by_place() -> None:
    def page(number: int) -> Page:
        head = Run(72, 30, 200, 38, 38, 8, False, f"Chapter {number}" if number < 4 else "Summary")
        body = [Run(72, y, 500, y + 10, y + 10, 10, False, "body text " * 5) for y in range(100, 200, 13)]
        return Page(842, [head, *body, Run(300, 800, 310, 808, 808, 10, False, str(number))])

    typography = describe({number: page(number) for number in range(1, 5)})
    assert [len(bands) for bands in typography.furniture.values()] == [2, 2, 2, 2]
    assert typography.line_step == pytest.approx(1.3)


def test_first_body_line_is_no_running_head() -> None:
    pages = {
        n: Page(842, [Run(72, 60, 500, 70, 70, 10, False, f"Body text of {word}")]) for n, word in ((1, "a"), (2, "b"))
    }
    assert describe(pages).furniture == {1: [], 2: []}


def words_of(*rows: str) -> list[tuple[Box, str]]:
    """Return the words of lines in type of ten points, each letter five wide, as they stand in a string."""
    return [
        (Box(5.0 * match.start(), 14.0 * number, 5.0 * match.end(), 14.0 * number + 10), match[0])
        for number, row in enumerate(rows)
        for match in re.finditer(r"\S+", row)
    ]


def test_table_with_level_rules_only() -> None:
    words = words_of(
        "Over all of the columns", "model    errors  seconds", "small    12      3.5", "large    7       21.0"
    )
    (frame,) = level_frames([Box(0, y, 130, y + 0.5) for y in (-2, 26, 56)])
    grid = aligned_grid(frame, words)
    assert grid is not None
    rows = [[w for b, w in words if cell.box.holds(b)] for cell in grid.cells]
    assert rows[0] == ["Over", "all", "of", "the", "columns"]
    assert rows[1:4] == [["model"], ["errors"], ["seconds"]]
    assert rows[4:] == [["small"], ["12"], ["3.5"], ["large"], ["7"], ["21.0"]]


@pytest.mark.parametrize(
    "lines",
    [
        ["This is the text of a note", "that stands between lines", "and has nothing of a table", "but its rules."],
        ["The left column has running text    while the right one goes on with", "another thing entirely, and is as"]
        + ["wide, so that nothing here is short  enough for it to be an entry of"] * 4,
        ["R>      kalman <- 3", "+       plot(kalman)", "+       text(kalman)", "+       box(kalman)"],
        ["one piece", "another piece"],
    ],
)
def test_text_between_level_rules_is_no_table(lines: list[str]) -> None:
    words = words_of(*lines)
    assert aligned_grid(Box(0, -5, 500, 14.0 * len(lines) + 5), words) is None


RESULTS = ["model    errors  seconds", "small    12      3.5", "large    7       21.0", "largest  3       122.5"]


def test_table_without_rules() -> None:
    words = words_of("Some text stands above the table, over its full width.", *RESULTS, "Other text stands below.")
    (grid,) = unruled_grids(words)
    rows = [[w for b, w in words if cell.box.holds(b)] for cell in grid.cells]
    assert rows == [[word] for line in RESULTS for word in line.split()]


def test_two_columns_and_a_gap_make_a_table() -> None:
    lines = ["city      people", "Rome      2.7", "Paris", "Lima      10.0", "Quito     2.8"]
    assert unruled_grids(words_of(*lines)) == []
    (grid,) = unruled_grids(words_of(*lines[:2], *lines[3:], "Bonn      0.3"))
    assert len(grid.rows) == 6
    (grid,) = unruled_grids(words_of(*RESULTS, "medium           15.1"))
    assert len(grid.cells) == 15


@pytest.mark.parametrize(
    "lines",
    [
        [
            "Preface          3",
            "Introduction     7",
            "First steps      12",
            "Adapters         31",
            "Index            90",
        ],
        ["1.1   Scope      3", "1.2   Terms      7", "1.3   Methods    12", "1.4   Results    31"],
        ["a = b + c      (1)", "b = c + d      (2)", "c = d + e      (3)", "d = e + f      (4)"],
        ["1.   one", "2.   two", "3.   three", "4.   four"],
        ["adapter     low rank", "base        frozen", "rank        its width", "alpha       a scale"],
        ["The left column has running    text while the other goes on", "with another thing, 3 and      4 is as wide"]
        * 3,
        ["Index . . . .    3", "Terms . . . .    4", "Names . . . .    3", "Dates . . . .    9"],
        ["x = 1        set x", "y = x + 22   add", "print(y)     show", "exit(0)      leave"],
        ["one 1     a", "   two 2", "three 3    b", "4     four    c"],
        ["12     34", "56     78", "90     12"],
    ],
)
def test_what_stands_in_columns_and_is_no_table(lines: list[str]) -> None:
    assert unruled_grids(words_of(*lines)) == []


def test_rows_of_a_table_follow_each_other_evenly() -> None:
    apart = [(Box(b.left, 3 * b.top, b.right, 3 * b.top + 10), text) for b, text in words_of(*RESULTS)]
    assert unruled_grids(apart) == []
    uneven = [(b if b.top < 28 else Box(b.left, b.top + 11, b.right, b.bottom + 11), t) for b, t in words_of(*RESULTS)]
    assert unruled_grids(uneven) == []


@given(st.integers(3, 9), st.integers(3, 5), st.randoms(use_true_random=False))
def test_any_columns_of_numbers_are_found_whole(rows: int, columns: int, chance: random.Random) -> None:
    lines = [[f"n{n}" for n in range(columns)]]
    lines += [[str(chance.randint(1, 10**6)) for _ in range(columns)] for _ in range(rows)]
    lines[1][0], lines[2][0] = "9", "8"  # numbers that only rise could be pages
    lines[1][-1], lines[2][-1] = "9", "8"
    words = words_of(*("   ".join(f"{cell:>9}" for cell in line) for line in lines))
    (grid,) = unruled_grids(words)
    assert [[w for b, w in words if cell.box.holds(b)] for cell in grid.cells] == [[c] for line in lines for c in line]


def test_two_level_rules_frame_nothing() -> None:
    assert level_frames([Box(0, 10, 100, 10.5), Box(0, 90, 100, 90.5), Box(0, 200, 300, 200.5)]) == []


def column(left: float, shift: float, count: int = 12) -> list[Box]:
    return [Box(left, 100 + shift + 13 * n, left + 140 + n, 110 + shift + 13 * n) for n in range(count)]


def test_three_columns_and_a_title_over_them() -> None:
    title = Box(50, 60, 560, 80)
    boxes = [title, *column(400, 5), *column(50, 0), *column(225, 8)]
    cuts = gutters(boxes)
    assert len(cuts) == 2
    in_order = [boxes[index] for index in column_order(boxes, cuts)]
    assert in_order == [title, *column(50, 0), *column(225, 8), *column(400, 5)]


def test_no_gutters_in_two_columns_or_a_table() -> None:
    assert gutters([*column(50, 0), *column(300, 5)]) == []
    assert gutters([*column(50, 0), *column(225, 0), *column(400, 0)]) == []
    assert gutters([]) == []


def test_bold_line_that_stands_alone_is_a_heading() -> None:
    cells = [line("Text before it.", 100), line("Coordinates", 125), line("Text behind it.", 147)]
    found = blocks_of(*cells, bold=("Coordinates",))
    assert [kind for kind, _ in found] == ["text", "heading", "text"]
    for text in ("Note the following:", "This is a sentence in bold.", "1 Intro . . . . . . 7"):
        assert [k for k, _ in blocks_of(cells[0], line(text, 125), cells[2], bold=(text,))] == ["text"] * 3
    beside = [cells[0], line("Name", 125), line("Value", 125, left=110), cells[2]]
    assert "heading" not in [kind for kind, _ in blocks_of(*beside, bold=("Name", "Value"))]


def test_bold_line_that_comes_often_is_a_label() -> None:
    cells = [line(text, 100 + 25 * n) for n, text in enumerate(["Text.", "Example", "Text."] * 3)]
    assert "heading" not in [kind for kind, _ in blocks_of(*cells, bold=("Example",))]


@pytest.mark.parametrize(
    ("name", "weight", "bold"),
    [
        ("LMRoman10-Regular", 744, False),
        ("NimbusSanL-Bold", 704, True),
        ("CMBX10", 570, True),
        ("", 700, True),
        ("", 400, False),
    ],
)
def test_the_name_of_a_font_goes_before_its_weight(name: str, weight: float, bold: bool) -> None:
    assert is_bold(name, weight) is bold


def test_lines_that_the_outline_names() -> None:
    lines = [(90.0, "the blank"), (200.0, "2.1 Blank"), (300.0, "blank"), (400.0, "other")]
    assert titled(lines, [Bookmark(1, 0, "Blank", top=195.0)]) == {1}
    assert titled(lines, [Bookmark(1, 0, "Blank", top=301.0)]) == {2}
    assert titled(lines, [Bookmark(1, 0, "Nothing")]) == set()


def test_levels_by_the_outline_and_by_likeness() -> None:
    headings = [
        PageHeading(1, "Book", 1),
        PageHeading(1, "One", 2),
        PageHeading(2, "Part", 3),
        PageHeading(2, "Note", 3),
    ]
    marks = [Bookmark(1, 0, "One"), Bookmark(2, 2, "Part")]
    assert levels(headings, marks) == [1, 2, 3, 3]
    assert levels(headings, []) == [1, 2, 3, 3]


def test_small_numbered_lines_at_the_foot_are_footnotes() -> None:
    cells = [line("Text that goes on over the page", 600), line("1 See the other book", 700, size=8)]
    cells += [line("of the same author.", 710, size=8), line("2 Also there.", 720, size=8)]
    assert blocks_of(*cells)[1:] == [
        ("footnote", "1 See the other book of the same author."),
        ("footnote", "2 Also there."),
    ]
    small_print = [line("Text.", 100), line("1 Small print at the top", 200, size=8), line("Text.", 300)]
    assert "footnote" not in [kind for kind, _ in blocks_of(*small_print)]


# From here on: real PDFs through Docling.


def chunks_of(path: Path) -> list[Chunk]:
    reader = DoclingReader(ConvertConfig(documents=path.parent, layout="rules"))
    return document_chunks(reader.read(Source(path, path.name, "pdf")).document, path.name, 2000)


def test_typography_of_a_real_file(tmp_path: Path) -> None:
    samples.write_handbook(tmp_path / "a.pdf")
    typography = read_typography(tmp_path / "a.pdf")
    assert (typography.body_size, typography.line_step, typography.bold_headings) == (10.0, 1.3, True)
    assert all(len(bands) == 2 for bands in typography.furniture.values())


def test_list_item_cut_by_a_page_break(tmp_path: Path) -> None:
    note = "Ask which step to undo first and why, " * 12 + "and wait for the answer."
    story: list[Flowable] = [
        Paragraph("Title", samples.CHAPTER),
        Spacer(1, 590),
        samples.bullet(note),
        samples.bullet("Next."),
    ]
    samples.write_pdf(tmp_path / "a.pdf", story, head="Head")
    (chunk,) = chunks_of(tmp_path / "a.pdf")
    assert chunk.items == [note, "Next."]


def test_two_columns(tmp_path: Path) -> None:
    story: list[Flowable] = [Paragraph("Left", samples.SECTION)]
    story += [Paragraph(f"Paragraph {number}. {samples.STATEMENT}", samples.BODY) for number in range(24)]
    samples.write_columns(tmp_path / "a.pdf", story)
    paragraphs = [text for chunk in chunks_of(tmp_path / "a.pdf") for text in chunk.text.split("\n\n")]
    starts = [text.split(".")[0] for text in paragraphs if text.startswith("Paragraph")]
    assert starts == [f"Paragraph {number}" for number in range(24)]


def test_outline_makes_headings_of_plain_lines(tmp_path: Path) -> None:
    class Marked(Paragraph):
        def draw(self) -> None:
            self.canv.bookmarkPage(self.text, fit="XYZ", top=self.canv.absolutePosition(0, self.height)[1])
            self.canv.addOutlineEntry(self.text, self.text, level=0)
            super().draw()

    story: list[Flowable] = [Paragraph("A Title", samples.CHAPTER), Paragraph(samples.STATEMENT, samples.BODY)]
    for name in ("Plain line", "Another line"):
        story += [Marked(name, samples.BODY), Paragraph(samples.STATEMENT, samples.BODY)]
    samples.write_pdf(tmp_path / "a.pdf", story)
    paths = [chunk.headings for chunk in chunks_of(tmp_path / "a.pdf")]
    assert paths == [["A Title"], ["A Title", "Plain line"], ["A Title", "Another line"]]


def test_footnote_does_not_part_a_sentence(tmp_path: Path) -> None:
    small = ParagraphStyle("small", parent=samples.BODY, fontSize=8, leading=9)
    first, second = "words of a sentence " * 4 + "that goes", "on and ends on the next page."
    story: list[Flowable] = [Paragraph("Title", samples.CHAPTER), Paragraph(samples.OPENING, samples.BODY)]
    story += [Spacer(1, 480), Paragraph(first, samples.BODY), Paragraph("1 A note at the foot.", small), PageBreak()]
    samples.write_pdf(tmp_path / "a.pdf", [*story, Paragraph(second, samples.BODY)])
    (chunk,) = chunks_of(tmp_path / "a.pdf")
    assert f"{first} {second}" in chunk.text
    assert "\n\n1 A note at the foot." in chunk.text


def test_table_with_three_level_rules(tmp_path: Path) -> None:
    rows = [["Model", "Errors", "Seconds"], ["small", "12", "3.5"], ["middle", "9", "8.0"], ["large", "7", "21.0"]]
    places = [("LINEABOVE", (0, 0), (-1, 0)), ("LINEBELOW", (0, 0), (-1, 0)), ("LINEBELOW", (0, -1), (-1, -1))]
    style = TableStyle([(*place, 0.8, colors.black) for place in places])
    story = [Paragraph("Results", samples.SECTION), Paragraph(samples.STATEMENT, samples.BODY)]
    samples.write_pdf(
        tmp_path / "a.pdf", [*story, Table(rows, style=style), Paragraph(samples.STATEMENT, samples.BODY)]
    )
    (chunk,) = chunks_of(tmp_path / "a.pdf")
    table = [f"| {' | '.join(row)} |" for row in rows]
    assert "\n".join([table[0], "| --- | --- | --- |", *table[1:]]) in chunk.text


def test_table_without_lines_in_a_real_file(tmp_path: Path) -> None:
    rows = [["Model", "Errors", "Seconds"], ["small", "12", "3.5"], ["middle", "9", "8.0"], ["large", "7", "21.0"]]
    story = [Paragraph("Results", samples.SECTION), Paragraph(samples.STATEMENT, samples.BODY), Table(rows)]
    samples.write_pdf(tmp_path / "a.pdf", [*story, Paragraph(samples.STATEMENT, samples.BODY)])
    (chunk,) = chunks_of(tmp_path / "a.pdf")
    table = [f"| {' | '.join(row)} |" for row in rows]
    assert "\n".join([table[0], "| --- | --- | --- |", *table[1:]]) in chunk.text


def test_table_over_two_pages_keeps_all_rows(tmp_path: Path) -> None:
    rows = [["Problem", "Answer"], *([f"1.{n}", f"x = {n}"] for n in range(1, 61))]
    table = Table(rows, repeatRows=1, style=TableStyle([("GRID", (0, 0), (-1, -1), 0.5, colors.black)]))
    samples.write_pdf(tmp_path / "a.pdf", [Paragraph("Key", samples.SECTION), table])
    text = "\n".join(chunk.text for chunk in chunks_of(tmp_path / "a.pdf"))
    assert [n for n in range(1, 61) if f"| 1.{n} | x = {n} |" in text] == list(range(1, 61))


def test_cells_of_several_lines_and_merged_cells(tmp_path: Path) -> None:
    long = Paragraph("A cell that is so long that it has to be set in several lines of text.", samples.BODY)
    style = TableStyle([("GRID", (0, 0), (-1, -1), 0.5, colors.black), ("SPAN", (0, 0), (1, 0))])
    table = Table([["Both columns", ""], ["Short", long]], colWidths=[80, 120], style=style)
    samples.write_pdf(tmp_path / "a.pdf", [Paragraph("Key", samples.SECTION), table])
    (chunk,) = chunks_of(tmp_path / "a.pdf")
    assert chunk.text.splitlines()[2] == f"| Short | {long.text} |"
    assert chunk.text.startswith("| Both columns | Both columns |")


@pytest.mark.skipif(not DEJAVU.is_dir(), reason="the DejaVu fonts are not installed")
def test_embedded_fonts(tmp_path: Path) -> None:
    pdfmetrics.registerFont(TTFont("DejaVu", DEJAVU / "DejaVuSans.ttf"))
    pdfmetrics.registerFont(TTFont("DejaVu-Bold", DEJAVU / "DejaVuSans-Bold.ttf"))
    body, bold = (ParagraphStyle(name, fontName=name, fontSize=10, leading=14) for name in ("DejaVu", "DejaVu-Bold"))
    title = ParagraphStyle("title", parent=bold, fontSize=14, spaceAfter=8)
    story: list[Flowable] = [Paragraph("Größe", title), Paragraph("Zwölf Äpfel kosten 6 €. " * 12, body)]
    story += [Paragraph("Hinweis", bold), Paragraph("Frage nach √4.", body, bulletText="•"), PageBreak()]
    samples.write_pdf(tmp_path / "a.pdf", [*story, Paragraph("Ende", title), Paragraph("Schluss.", body)])
    first, second = chunks_of(tmp_path / "a.pdf")
    assert (first.headings, first.items, second.headings, second.page) == (["Größe"], ["Frage nach √4."], ["Ende"], 2)
    assert "Hinweis" in first.text

"""Build the four documents of the recipe from the texts in this folder.

Usage: python build.py [--out FOLDER]

The texts are YAML files: handbook/*.yaml (one a chapter), tutoring-moves.yaml, syllabus.yaml and faq.yaml.
Before anything is built, every example problem of the handbook is verified: its `answer` (plain text) must equal
its `check` (a SymPy expression), and its notes must have one of the agreed forms. The script exits with 2 and one
line a problem when something differs. Two runs give the same bytes.
"""

import argparse
import datetime
import html
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docx
import sympy
import yaml
from docx.shared import Inches as DocxInches
from docx.shared import Pt as DocxPt
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import PP_ALIGN
from pptx.util import Inches, Pt
from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    ListFlowable,
    ListItem,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from sympy.parsing.sympy_parser import (
    convert_xor,
    implicit_multiplication,
    parse_expr,
    standard_transformations,
)

SOURCES = Path(__file__).resolve().parent
BUILD_DATE = datetime.datetime(2025, 1, 1, 12, 0, 0)  # fixed, so that two builds are equal
INK = "#1F3A34"  # the dark green of headings
TINT = "#E6EEEA"  # the light green behind table headings

Source = Mapping[str, Any]


# --- Verification -----------------------------------------------------------------------------------------------------

SYMBOLS = {name: sympy.Symbol(name) for name in ("x", "y", "C")}
PYTHON_NAMES = {"len": len, "sum": sum, "sorted": sorted, "range": range, "tuple": tuple}
CHECK_NAMES = {**vars(sympy), **SYMBOLS, **PYTHON_NAMES, "__builtins__": {}}
PARSING = (*standard_transformations, convert_xor, implicit_multiplication)

# The words that may follow the number in an answer.
UNITS = re.compile(
    r"\b(square|cubic|cm|dm|km|m|per hour|hours|minutes|degrees|seats|bags|novels|chairs|cups|glasses|teams|ways)\b"
)

# The forms of a guidance note; a converter may rely on them.
NOTE_FORMS = re.compile(
    r"Ask (what|how|which|why|where|when) .+|Have the student .+|Let the student say in words .+|Point out that .+"
    r"|Remind the student that .+|If the student is stuck, suggest \w+ing .+|Suggest \w+ing .+"
)


class SourceError(Exception):
    """A source text is not as it should be; the message names the place."""


def parse_term(text: str) -> sympy.Basic:
    """Read one expression in school notation, such as "3x^2 e^x" or "y = 4x - 7" (its right side)."""
    right_side = text.rpartition(" = ")[2]
    names = {**SYMBOLS, "e": sympy.E, "pi": sympy.pi}
    return parse_expr(right_side, local_dict=names, transformations=PARSING)


def parse_answer(answer: str) -> Any:
    """Read an answer as a SymPy object: a term, a tuple, a matrix, a relation or a set of solutions."""
    text = UNITS.sub("", answer.replace("$", "").replace("%", "")).strip()
    if " or " in text:
        return sympy.FiniteSet(*map(parse_term, text.split(" or ")))
    if " and " in text:
        return sympy.Tuple(*map(parse_term, text.split(" and ")))
    if text.startswith("[["):
        return sympy.Matrix(sympy.sympify(text))
    if re.fullmatch(r"x = .+, y = .+", text):
        return sympy.Tuple(*map(parse_term, text.split(", ")))
    return sympy.sympify(parse_term(text), rational=True)


def are_equal(left: Any, right: Any) -> bool:
    """Compare two SymPy objects, entry by entry where they have entries; a pair in words may stand for a set."""
    if isinstance(left, sympy.FiniteSet) and isinstance(right, sympy.Tuple):
        return bool(left == sympy.FiniteSet(*right))
    if isinstance(left, sympy.Tuple) and isinstance(right, sympy.Tuple):
        return len(left) == len(right) and all(map(are_equal, left, right))
    if isinstance(left, (sympy.MatrixBase, sympy.Set, sympy.Rel)):
        return bool(left == right)
    return bool(sympy.simplify(left - right) == 0)


def verify_answer(problem: Source) -> None:
    """Raise SourceError when the answer of a problem and its check differ."""
    try:
        expected = sympy.sympify(eval(problem["check"], dict(CHECK_NAMES)))
        matches = are_equal(expected, parse_answer(problem["answer"]))
    except Exception as error:  # any failure of a source text is reported alike
        raise SourceError(f"check or answer cannot be read ({error})") from error
    if not matches:
        raise SourceError(f"check gives {expected}, but answer is {problem['answer']!r}")


def verify_notes(problem: Source) -> None:
    """Raise SourceError when a note has no agreed form or states the answer."""
    answer = problem["answer"]
    stated = re.compile(r"(?<![\w.^/-])" + re.escape(answer) + r"(?![\w^/]|\.\d)")
    for note in problem["notes"]:
        if not NOTE_FORMS.fullmatch(note) or not note.endswith("."):
            raise SourceError(f"note has no agreed form: {note}")
        if stated.search(note) and not stated.search(problem["statement"]):
            raise SourceError(f"note states the answer {answer!r}: {note}")


def numbered(chapter: Source) -> Iterator[tuple[str, Source]]:
    """Yield the problems of a chapter with their numbers, such as "3.4"."""
    for position, problem in enumerate(chapter["problems"], start=1):
        yield f"{chapter['chapter']}.{position}", problem


def find_errors(chapters: list[Source]) -> list[str]:
    """Verify all problems; return one line for each that fails."""
    errors = []
    for chapter in chapters:
        for number, problem in numbered(chapter):
            try:
                verify_answer(problem)
                verify_notes(problem)
            except SourceError as error:
                errors.append(f"problem {number} ({problem['title']}): {error}")
    return errors


# --- The handbook (PDF) -----------------------------------------------------------------------------------------------


def make_style(name: str, size: float, **options: Any) -> ParagraphStyle:
    """Make a paragraph style in Helvetica; headings get the bold face and the heading color."""
    is_heading = options.pop("heading", False)
    options.setdefault("fontName", "Helvetica-Bold" if is_heading else "Helvetica")
    options.setdefault("textColor", colors.HexColor(INK) if is_heading else colors.black)
    options.setdefault("leading", size * 1.35)
    return ParagraphStyle(name, fontSize=size, keepWithNext=is_heading, **options)


TITLE = make_style("title", 28, heading=True, alignment=TA_CENTER, spaceAfter=5 * mm)
SUBTITLE = make_style("subtitle", 14, alignment=TA_CENTER, spaceAfter=24 * mm)
CHAPTER = make_style("chapter", 18, heading=True, spaceAfter=9)
SECTION = make_style("section", 13, heading=True, spaceBefore=12, spaceAfter=6)
PROBLEM = make_style("problem", 11.5, heading=True, spaceBefore=9, spaceAfter=3)
LABEL = make_style("label", 9, heading=True, spaceBefore=1, spaceAfter=2)
BODY = make_style("body", 10, spaceAfter=6)
CELL = make_style("cell", 10, leading=12.5)
HEAD_CELL = make_style("head-cell", 10, heading=True, leading=12.5)


def paragraph(text: str, style: ParagraphStyle = BODY) -> Paragraph:
    """Make a paragraph of plain text; "<" and "&" are kept as characters."""
    return Paragraph(html.escape(text, quote=False), style)


def bullets(lines: list[str]) -> ListFlowable:
    """Make a bullet list; the bullet is a Helvetica character, so that it comes out as text."""
    style = make_style("bullet", 10, leading=13, spaceAfter=1.5)
    items = [ListItem(paragraph(line, style)) for line in lines]
    return ListFlowable(
        items, bulletType="bullet", start="\u2022", bulletFontName="Helvetica", bulletFontSize=10, leftIndent=16,
        bulletDedent=11,
    )  # fmt: skip


def title_page(chapters: list[Source]) -> list[Flowable]:
    """Lay out the first page: the title, what the book is for and the chapters."""
    parts: list[Flowable] = [
        Spacer(1, 45 * mm),
        paragraph("RDU Tutor Handbook", TITLE),
        paragraph("Guiding questions for eight topics of mathematics", SUBTITLE),
        paragraph("How to use this handbook", SECTION),
    ]
    parts += [paragraph(text) for text in HOW_TO_USE]
    parts += [paragraph("Chapters", SECTION), bullets([chapter["title"] for chapter in chapters])]
    return [*parts, PageBreak()]


HOW_TO_USE = (
    "This handbook is for the tutors of Riverdale University and for Canopy, RDU's math tutor. Each chapter opens with "
    "advice on its topic and with misconceptions that are common among students. Example problems with guidance notes "
    "follow.",
    "The notes say what to ask, what to point out and what to suggest. A good reply uses one note at a time, turned "
    "into one question in the student's own terms. The answers are in a table at the end of each chapter. They are for "
    "the tutor alone and are never told to a student.",
)


def problem_block(number: str, problem: Source) -> Flowable:
    """Lay out one example problem; it stays together on a page."""
    return KeepTogether(
        [
            paragraph(f"Problem {number}: {problem['title']}", PROBLEM),
            paragraph(problem["statement"]),
            paragraph("Guidance", LABEL),
            bullets(problem["notes"]),
        ]
    )


def answer_key(chapter: Source) -> Flowable:
    """Lay out the ruled table of a chapter's answers under its section heading."""
    rows = [[paragraph("Problem", HEAD_CELL), paragraph("Answer", HEAD_CELL)]]
    for number, problem in numbered(chapter):
        rows.append([paragraph(f"{number} {problem['title']}", CELL), paragraph(problem["answer"], CELL)])
    table = Table(rows, colWidths=[95 * mm, 65 * mm], repeatRows=1, hAlign="LEFT")
    grid = ("GRID", (0, 0), (-1, -1), 0.6, colors.HexColor("#7A8C86"))
    shade = ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor(TINT))
    table.setStyle(TableStyle([grid, shade, ("VALIGN", (0, 0), (-1, -1), "MIDDLE")]))
    return KeepTogether([paragraph("Answer key", SECTION), table])


def chapter_pages(chapter: Source) -> list[Flowable]:
    """Lay out a chapter; it ends with a page break."""
    parts: list[Flowable] = [paragraph(f"Chapter {chapter['chapter']}: {chapter['title']}", CHAPTER)]
    parts += [paragraph(text) for text in chapter["introduction"]]
    parts += [paragraph("Typical misconceptions", SECTION), bullets(chapter["misconceptions"])]
    parts += [Spacer(1, 4), paragraph("Example problems", SECTION)]
    parts += [problem_block(number, problem) for number, problem in numbered(chapter)]
    return [*parts, answer_key(chapter), PageBreak()]


def draw_frame(canvas: Canvas, document: BaseDocTemplate) -> None:
    """Draw the page header and the page number; the first page has neither."""
    if document.page == 1:
        return
    width, height = A4
    canvas.setFont("Helvetica", 8.5)
    canvas.setFillColor(colors.HexColor("#5A6662"))
    canvas.drawString(25 * mm, height - 15 * mm, "RDU Tutor Handbook")
    canvas.drawCentredString(width / 2, 12 * mm, str(document.page))
    canvas.setStrokeColor(colors.HexColor("#B5C2BD"))
    canvas.setLineWidth(0.5)
    canvas.line(25 * mm, height - 17 * mm, width - 25 * mm, height - 17 * mm)


class HandbookTemplate(BaseDocTemplate):  # type: ignore[misc]  # reportlab has no types
    """A document template that adds chapters and problems to the outline of the PDF."""

    def afterFlowable(self, flowable: Flowable) -> None:
        """Add an outline entry for a heading that was just drawn."""
        levels = {CHAPTER.name: 0, PROBLEM.name: 1}
        level = levels.get(getattr(getattr(flowable, "style", None), "name", ""))
        if level is None:
            return
        key = f"heading-{self.seq.nextf('heading')}"
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(flowable.getPlainText(), key, level=level, closed=True)


def build_handbook(chapters: list[Source], target: Path) -> None:
    """Write the handbook as a PDF."""
    document = HandbookTemplate(
        str(target), pagesize=A4, invariant=1, title="RDU Tutor Handbook", author="Riverdale University"
    )
    width, height = A4
    frame = Frame(25 * mm, 20 * mm, width - 50 * mm, height - 42 * mm, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(frames=[frame], onPage=draw_frame))
    flow = title_page(chapters)
    for chapter in chapters:
        flow += chapter_pages(chapter)
    document.build(flow[:-1])  # without the page break after the last chapter


# --- The slides (PPTX) ------------------------------------------------------------------------------------------------


def hex_color(code: str) -> Any:
    """Make a slide color of a code such as "#1F3A34"."""
    make: Any = RGBColor  # python-pptx leaves it untyped
    return make(*bytes.fromhex(code.removeprefix("#")))


def style_text(paragraph_: Any, size: int, *, bold: bool = False, color: str = "#000000") -> None:
    """Set the font of a slide paragraph and align it to the left."""
    paragraph_.alignment = PP_ALIGN.LEFT
    paragraph_.font.size = Pt(size)
    paragraph_.font.bold = bold
    paragraph_.font.color.rgb = hex_color(color)


def add_bar(slide: Any) -> None:
    """Add the colored bar at the left edge of a slide."""
    bar = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, 0, 0, Inches(0.22), Inches(7.5))
    bar.fill.solid()
    bar.fill.fore_color.rgb = hex_color(INK)
    bar.line.fill.background()


def place(shape: Any, left: float, top: float, width: float, height: float) -> None:
    """Put a shape at a position, in inches."""
    shape.left, shape.top, shape.width, shape.height = map(Inches, (left, top, width, height))


def add_opening(deck: Any, source: Source) -> None:
    """Add the slide with the title of the deck."""
    slide = deck.slides.add_slide(deck.slide_layouts[0])
    title, subtitle = slide.shapes.title, slide.placeholders[1]
    place(title, 1, 2.3, 11, 1.2)
    place(subtitle, 1, 3.6, 11, 1)
    title.text, subtitle.text = source["title"], source["subtitle"]
    style_text(title.text_frame.paragraphs[0], 48, bold=True, color=INK)
    style_text(subtitle.text_frame.paragraphs[0], 24, color="#444444")
    add_bar(slide)


def add_bullet_slide(deck: Any, content: Source) -> None:
    """Add a slide with a title, a bullet list and, where there are some, speaker notes."""
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    title, body = slide.shapes.title, slide.placeholders[1]
    place(title, 0.9, 0.5, 11.5, 1.1)
    place(body, 0.9, 1.9, 11.5, 4.8)
    title.text, body.text = content["title"], "\n".join(content["bullets"])
    style_text(title.text_frame.paragraphs[0], 36, bold=True, color=INK)
    for line in body.text_frame.paragraphs:
        style_text(line, 24)
        line.space_after = Pt(12)
    if "notes" in content:
        slide.notes_slide.notes_text_frame.text = content["notes"]
    add_bar(slide)


def build_slides(source: Source, target: Path) -> None:
    """Write the slides."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    add_opening(deck, source)
    for content in source["slides"]:
        add_bullet_slide(deck, content)
    set_properties(deck.core_properties, source["title"])
    deck.save(str(target))
    fix_dates(target)


# --- The syllabus (DOCX) ----------------------------------------------------------------------------------------------


def add_table(document: Any, table_source: Source) -> None:
    """Add a ruled table with a bold first row."""
    columns = table_source["columns"]
    table = document.add_table(rows=0, cols=len(columns), style="Table Grid")
    table.autofit = False
    for position, values in enumerate([columns, *table_source["rows"]]):
        row = table.add_row()
        for cell, value, width in zip(row.cells, values, table_source["widths"], strict=True):
            cell.width = DocxInches(width)
            cell.paragraphs[0].paragraph_format.space_after = DocxPt(2)
            cell.paragraphs[0].add_run(value).bold = position == 0
    document.add_paragraph()


def add_section(document: Any, section: Source) -> None:
    """Add a heading with its paragraphs, its bullet list and its table."""
    document.add_heading(section["heading"], level=1)
    for text in section.get("paragraphs", []):
        document.add_paragraph(text)
    for line in section.get("bullets", []):
        document.add_paragraph(line, style="List Bullet")
    if "table" in section:
        add_table(document, section["table"])


def build_syllabus(source: Source, target: Path) -> None:
    """Write the syllabus."""
    document = docx.Document()
    document.styles["Normal"].font.name = "Calibri"
    document.styles["Normal"].font.size = DocxPt(11)
    document.add_heading(source["title"], level=0)
    document.add_paragraph(source["subtitle"], style="Subtitle")
    for section in source["sections"]:
        add_section(document, section)
    set_properties(document.core_properties, source["title"])
    document.save(str(target))
    fix_dates(target)


# --- The questions (HTML) ---------------------------------------------------------------------------------------------

PAGE_START = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 17px/1.55 Georgia, serif; max-width: 42em; margin: 2.5em auto; padding: 0 1em; color: #222; }}
h1, h2, h3 {{ font-family: Helvetica, Arial, sans-serif; color: {ink}; line-height: 1.25; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid #7a8c86; padding: 0.35em 0.7em; text-align: left; }}
th {{ background: {tint}; }}
</style>
</head>
<body>
"""


def tag(name: str, text: str) -> str:
    """Put escaped text into an HTML element."""
    return f"<{name}>{html.escape(text, quote=False)}</{name}>"


def html_table(table: Source) -> Iterator[str]:
    """Yield the lines of a table."""
    yield "<table>"
    yield "<thead><tr>" + "".join(tag("th", text) for text in table["columns"]) + "</tr></thead>"
    yield "<tbody>"
    for row in table["rows"]:
        yield "<tr>" + "".join(tag("td", text) for text in row) + "</tr>"
    yield "</tbody>"
    yield "</table>"


def html_question(entry: Source) -> Iterator[str]:
    """Yield the lines of one question with its answer."""
    yield tag("h3", entry["question"])
    yield tag("p", entry["answer"])
    if "bullets" in entry:
        yield "<ul>"
        yield from (tag("li", line) for line in entry["bullets"])
        yield "</ul>"
    if "table" in entry:
        yield from html_table(entry["table"])


def html_body(source: Source) -> Iterator[str]:
    """Yield the lines of the page's body."""
    yield tag("h1", source["title"])
    yield from (tag("p", text) for text in source["introduction"])
    for section in source["sections"]:
        yield tag("h2", section["heading"])
        for entry in section["questions"]:
            yield from html_question(entry)


def build_faq(source: Source, target: Path) -> None:
    """Write the page of questions."""
    start = PAGE_START.format(title=html.escape(source["title"]), ink=INK, tint=TINT)
    lines = "\n".join(html_body(source))
    target.write_text(f"{start}{lines}\n</body>\n</html>\n", encoding="utf-8")


# --- Reading, fixing dates and the command line -----------------------------------------------------------------------


def set_properties(properties: Any, title: str) -> None:
    """Set the properties of an Office file; dates are fixed."""
    properties.title, properties.author = title, "Riverdale University"
    properties.last_modified_by, properties.comments = "Riverdale University", ""
    properties.created = properties.modified = BUILD_DATE


def fix_dates(path: Path) -> None:
    """Rewrite an Office file (a ZIP archive) with one fixed date for all of its members."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name, BUILD_DATE.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def load(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def build_all(chapters: list[Source], out: Path) -> list[Path]:
    """Build the four documents; return their paths."""
    others: dict[str, tuple[str, Callable[[Source, Path], None]]] = {
        "tutoring-moves.pptx": ("tutoring-moves.yaml", build_slides),
        "syllabus.docx": ("syllabus.yaml", build_syllabus),
        "faq.html": ("faq.yaml", build_faq),
    }
    out.mkdir(parents=True, exist_ok=True)
    build_handbook(chapters, out / "handbook.pdf")
    for name, (source, build) in others.items():
        build(load(SOURCES / source), out / name)
    return [out / name for name in ("handbook.pdf", *others)]


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the documents of the recipe.")
    parser.add_argument("--out", type=Path, default=SOURCES.parent, help="folder for the documents")
    arguments = parser.parse_args()
    chapters = sorted((load(path) for path in SOURCES.glob("handbook/*.yaml")), key=lambda chapter: chapter["chapter"])
    errors = find_errors(chapters)
    if errors:
        print("Nothing was built, since the handbook has errors:", *errors, sep="\n  ", file=sys.stderr)
        return 2
    count = sum(len(chapter["problems"]) for chapter in chapters)
    print(f"{count} problems in {len(chapters)} chapters verified")
    print(*(f"built {path.name}" for path in build_all(chapters, arguments.out)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Documents that the tests of the convert stage make: PDFs by reportlab, slides and Word files by their libraries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageBreak,
    PageTemplate,
    Paragraph,
    SimpleDocTemplate,
    Table,
    TableStyle,
)

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=13, spaceAfter=5)
CHAPTER = ParagraphStyle("chapter", fontName="Helvetica-Bold", fontSize=18, leading=22, spaceAfter=10)
SECTION = ParagraphStyle("section", fontName="Helvetica-Bold", fontSize=13, leading=16, spaceBefore=8, spaceAfter=6)
PROBLEM = ParagraphStyle("problem", fontName="Helvetica-Bold", fontSize=11.5, leading=14, spaceBefore=6, spaceAfter=3)
LABEL = ParagraphStyle("label", fontName="Helvetica-Bold", fontSize=10, leading=12)
BULLET = ParagraphStyle("bullet", parent=BODY, leftIndent=14, bulletIndent=4, spaceAfter=2)

OPENING = (
    "An equation is a statement about <b>balance</b>, and every allowed move keeps the balance. Students who see only "
    "a chain of rules will move terms across the equals sign and lose track of the signs."
)
STATEMENT = (
    "A coupon takes $6 off a restaurant bill. Four friends split the rest evenly, and each of them pays $13. What was "
    "the bill before the coupon?"
)
NOTES = (
    "Have the student write the bill as x and the rest after the coupon as x - 6, and then ask how the rest and the "
    "four shares of the friends are connected.",
    "Ask what 4 shares of $13 are together.",
    "Ask which step to undo first, the split by 4 or the coupon of $6.",
)
PROBLEMS = 7


def bullet(text: str) -> Paragraph:
    """Return a list item with a round bullet."""
    return Paragraph(text, BULLET, bulletText="•")


def chapter(number: int) -> list[Flowable]:
    """Return a chapter of the handbook: an opening, problems with guidance, an answer key in a ruled table."""
    story: list[Flowable] = [
        Paragraph(f"Chapter {number}: Topic <i>of</i> week {number}", CHAPTER),
        Paragraph(OPENING, BODY),
        Paragraph("Problems", SECTION),
    ]
    for problem in range(1, PROBLEMS + 1):
        story += [Paragraph(f"Problem {number}.{problem}: Splitting a bill", PROBLEM), Paragraph(STATEMENT, BODY)]
        story += [Paragraph("Guidance", LABEL), *map(bullet, NOTES)]
    return [*story, Paragraph("Answer key", SECTION), answer_key(number), PageBreak()]


def answer_key(number: int) -> Table:
    """Return a ruled table with a row a problem."""
    rows = [["Problem", "Answer"], *([f"{number}.{problem}", f"x = {problem}"] for problem in range(1, PROBLEMS + 1))]
    return Table(rows, style=TableStyle([("GRID", (0, 0), (-1, -1), 0.5, colors.black)]))


def write_handbook(path: Path, chapters: int = 3) -> None:
    """Write a handbook of some pages with a running head, a line below it, and page numbers."""
    write_pdf(path, [item for number in range(1, chapters + 1) for item in chapter(number)], head="Tutor Handbook")


def write_pdf(path: Path, story: Sequence[Flowable], *, head: str = "", **page: Any) -> None:
    """Write a PDF of flowables on A4."""

    def decorate(canvas: Canvas, document: Any) -> None:
        if head:
            canvas.setFont("Helvetica", 8)
            canvas.drawString(72, A4[1] - 40, head)
            canvas.line(72, A4[1] - 44, A4[0] - 72, A4[1] - 44)
            canvas.drawCentredString(A4[0] / 2, 30, str(document.page))

    SimpleDocTemplate(str(path), pagesize=A4, **page).build(list(story), onFirstPage=decorate, onLaterPages=decorate)


def write_columns(path: Path, story: Sequence[Flowable]) -> None:
    """Write a PDF in two columns."""
    frames = [Frame(60, 60, 225, 700), Frame(310, 60, 225, 700)]
    BaseDocTemplate(str(path), pagesize=A4, pageTemplates=[PageTemplate(frames=frames)]).build(list(story))


def write_slides(path: Path) -> None:
    """Write two slides; the second has a list and speaker notes."""
    from pptx import Presentation

    slides = Presentation()
    first = slides.slides.add_slide(slides.slide_layouts[0])
    first.shapes.title.text, first.placeholders[1].text = "Tutoring Moves", "How a tutor answers"
    second = slides.slides.add_slide(slides.slide_layouts[1])
    second.shapes.title.text = "One reply, one question"
    second.placeholders[1].text = "Read the message twice.\nPick one step."
    second.notes_slide.notes_text_frame.text = "A reply with three questions is an exam."
    slides.save(str(path))


def write_word(path: Path) -> None:
    """Write a Word file with two levels of headings, a paragraph in two fonts, a list and a table."""
    from docx import Document

    document = Document()
    document.add_heading("Syllabus", 0)
    document.add_heading("Policies", 1)
    paragraph = document.add_paragraph("Worksheets are handed in ")
    paragraph.add_run("on paper").bold = True
    paragraph.add_run(", and late ones count for half.")
    document.add_heading("Tests", 2)
    for text in ("Canopy is closed during tests.", "Bring a pen."):
        document.add_paragraph(text, style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("Part", "Share", "Final test", "40%"), strict=True):
        cell.text = text
    document.save(str(path))


HTML = """<html><head><title>Questions</title></head><body><h1>Questions</h1>
<h2>How to ask</h2><p>Write the <em>whole</em> problem.</p>
<ul><li>Copy it <b>as it stands</b>.</li><li>Say what you have tried.<ul><li>Even when it is wrong.</li></ul></li></ul>
<h2>What it covers</h2><table><tr><th>Topic</th><th>Example</th></tr><tr><td>Algebra</td><td>a | b</td></tr></table>
</body></html>"""

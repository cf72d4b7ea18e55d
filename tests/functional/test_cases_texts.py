"""Text that conversion lost, changed or made up. Real: the command line, Docling, the cases' recipes and our own files.

Our own documents are converted once, by a recipe that is otherwise the small one.
"""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bakery import run, small_recipe
from cases import case

from tuning_room.records import Chunk, read_jsonl

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
FOOTNOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
PAGE = """<!DOCTYPE html><html lang="en"><head><title>Pool</title></head><body>
<a class="skip" href="#main">Skip to content</a>
<div id="cookie-banner">We use cookies. <button>Accept</button></div>
<header>City Pools <nav><ul><li><a href="/">Start</a></li><li><a href="/prices">Prices</a></li></ul></nav></header>
<main id="main"><p>The pool holds 10<sup>6</sup> litres of H<sub>2</sub>O at 10<sup>&minus;3</sup> bar on the
1<sup>st</sup> of May, x<sup>n+1</sup> guests at most.</p>
<p>A ticket costs <del>5 euros</del> <b>7</b>% of un<i>believ</i>able.</p>
<table><thead><tr><th>Day</th><th>Bring</th></tr></thead><tfoot><tr><td>Any</td><td>Soap</td></tr></tfoot>
<tbody><tr><td>Monday</td><td><ul><li>towel</li><li>goggles</li></ul></td></tr></tbody></table>
<h2>Rules</h2><p>No running.</p><pre><span>a</span> = <b>1</b>
  b</pre></main><footer>Imprint 2026</footer></body></html>"""
NOTES = r"""Dear <first name>, the type is List<Item> with a snake\_case name, 2*3*4 and 10<sup>3</sup>.

| Dish | Parts |
| --- | --- |
| Soup | <ul><li>leek</li><li>`a|b`</li></ul> |

- [ ] boil
- [x] peel

Salt[^1] is ~~cheap~~ dear.

[^1]: Sodium

## Method

<p>Stir <b>well</b>.</p>

Serve *hot* at once.

Then **rest** it.
"""
LETTER = (
    "Dear <first name>,\n\n# not a heading\n  * indented_by two\n1) first line\nsecond line &amp; more\n\n\n    deep\n"
)


class Converted(NamedTuple):
    """What the command said, and the markdown and the chunks of each document."""

    said: dict[str, Any]
    warned: str
    runs: Path

    def markdown(self, name: str) -> str:
        (path,) = self.runs.glob(f"*/documents/{name}.md")
        return path.read_text(encoding="utf-8")

    def text(self, name: str) -> str:
        (path,) = self.runs.glob("*/chunks.jsonl")
        return "\n\n".join(chunk.text for chunk in read_jsonl(path, Chunk) if chunk.document == name)

    def file(self, name: str) -> dict[str, Any]:
        return next(file for file in self.said["files"] if file["name"] == name)


def convert(recipe: Path, runs: Path) -> Converted:
    done = run("convert", str(recipe), "--runs", str(runs), "--json", cwd=recipe.parent)
    assert done.returncode == 0, done.stderr
    return Converted(json.loads(done.stdout), done.stderr, runs)


def run_of(text: str, properties: str = "") -> str:
    return f'<w:r>{properties}<w:t xml:space="preserve">{text}</w:t></w:r>'


def write_contract(path: Path) -> None:
    """Write a Word file with tracked changes of every kind, signs, a footnote, a comment and a list in a cell."""
    from docx import Document
    from docx.oxml import OxmlElement, parse_xml
    from docx.oxml.ns import qn

    file = Document()

    def add(inner: str) -> None:
        file.element.body.insert(len(file.element.body) - 1, parse_xml(f"<w:p {W}>{inner}</w:p>"))

    deleted = '<w:del w:id="1" w:author="A"><w:r><w:delText>five</w:delText></w:r></w:del>'
    add(run_of("The fee is ") + deleted + f'<w:ins w:id="2" w:author="A">{run_of("seven")}</w:ins>' + run_of(" euros."))
    add(f'<w:moveFrom w:id="3">{run_of("Old place. ")}</w:moveFrom>' + run_of("Stays. "))
    add(f'<w:moveTo w:id="4">{run_of("New place. ")}</w:moveTo>')
    add('<w:pPr><w:rPr><w:del w:id="5"/></w:rPr></w:pPr>' + run_of("One half,"))
    add(run_of(" other half."))
    add(f"{run_of('In a ')}<w:sdt><w:sdtPr/><w:sdtContent>{run_of('control')}</w:sdtContent></w:sdt>{run_of('.')}")
    up, down = (f'<w:rPr><w:vertAlign w:val="{place}"/></w:rPr>' for place in ("superscript", "subscript"))
    add(run_of("10") + run_of("6", up) + run_of(" parts CO") + run_of("2", down) + run_of(", once "))
    add(
        run_of("25", "<w:rPr><w:strike/></w:rPr>")
        + run_of(" euros, un")
        + run_of("believ", "<w:rPr><w:b/></w:rPr>")
        + run_of("able.")
    )
    add(run_of("Noted.") + '<w:r><w:footnoteReference w:id="2"/></w:r>')
    table = file.add_table(rows=3, cols=2)
    for row, texts in zip(table.rows, (("Term", "Fee"), ("GONE", "1"), ("Summer", "")), strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    for text in ("swim", "dive"):
        table.cell(2, 1).add_paragraph(text, style="List Bullet")
    mark = OxmlElement("w:del")
    mark.set(qn("w:id"), "6")
    table.rows[1]._tr.get_or_add_trPr().append(mark)
    file.sections[0].header.paragraphs[0].text = "Confidential draft"
    file.add_comment(file.paragraphs[0].runs, text="Check this", author="Ann")
    file.save(str(path.with_suffix(".plain")))
    _add_footnote(path.with_suffix(".plain"), path)


def _add_footnote(plain: Path, path: Path) -> None:
    note = (
        f'<w:footnotes {W}><w:footnote w:id="2"><w:p>{run_of(" Says the footnote.")}</w:p></w:footnote></w:footnotes>'
    )
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    relation = f'<Relationship Id="n" Type="{FOOTNOTES}" Target="footnotes.xml"/>'
    added = {
        "word/_rels/document.xml.rels": f"{relation}</Relationships>",
        "[Content_Types].xml": f'<Override PartName="/word/footnotes.xml" ContentType="{kind}"/></Types>',
    }
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name).decode("utf-8", "surrogateescape")
            if name in added:
                end = added[name].rpartition("</")[2]
                content = content.replace(f"</{end}", added[name])
            target.writestr(name, content.encode("utf-8", "surrogateescape"))
        target.writestr("word/footnotes.xml", note)
    plain.unlink()


def write_slides(path: Path) -> None:
    from pptx import Presentation
    from pptx.util import Inches

    file = Presentation()
    slide = file.slides.add_slide(file.slide_layouts[6])
    frame = slide.shapes.add_textbox(0, 0, Inches(4), Inches(1)).text_frame
    for text, setting in (("x", {}), ("2", {"baseline": "30000"}), (" costs ", {}), ("9", {"strike": "sngStrike"})):
        added = frame.paragraphs[0].add_run()
        added.text = text
        for name, value in setting.items():
            added.font._element.set(name, value)
    table = slide.shapes.add_table(2, 2, 0, Inches(2), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text, table.cell(1, 0).text = "Kit", "Size", "rope\nhook"
    hidden = file.slides.add_slide(file.slide_layouts[5])
    hidden.shapes.title.text = "Not shown"
    hidden._element.set("show", "0")
    file.save(str(path))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = small_recipe(tmp_path_factory.mktemp("texts"))
    documents = folder / "documents"
    for name, text in {"page.html": PAGE, "notes.md": NOTES, "letter.txt": LETTER}.items():
        (documents / name).write_text(text, encoding="utf-8")
    write_contract(documents / "contract.docx")
    write_slides(documents / "slides.pptx")
    return convert(folder, folder / "runs")


def test_a_page_keeps_its_lead_and_its_signs(own: Converted) -> None:
    for text in (own.markdown("page.html"), own.text("page.html")):
        assert "The pool holds 10^6 litres of H_2O at 10^−3 bar on the 1st of May, x^(n+1) guests at most." in text  # noqa: RUF001
        assert "~~5 euros~~" in text
        assert " ".join(text.split()).index("• towel • goggles") < text.index("| Any | Soap |")
        assert "a = 1\n  b" in text
    assert "**7**% of un*believ*able." in own.markdown("page.html")
    assert "7% of unbelievable." in own.text("page.html")


def test_a_pages_furniture_is_left_out_and_named(own: Converted) -> None:
    text = own.markdown("page.html")
    assert not [word for word in ("Skip", "cookies", "City", "Prices", "Imprint") if word in text]
    (phrase,) = own.file("page.html")["left_out"]
    assert phrase.startswith("page furniture (menus, running heads and the like): 13 words (skip to content we use")
    assert own.file("page.html")["missing"] == []


def test_markdown_is_as_it_was_meant(own: Converted) -> None:
    for text in (own.markdown("notes.md"), own.text("notes.md")):
        assert "Dear <first name>, the type is List<Item> with a snake_case name, 2*3*4 and 10^3." in text
        assert "- [ ] boil\n- [x] peel" in text
        assert "Salt[^1] is ~~cheap~~ dear.\n\n[^1]: Sodium" in text
        assert [text.index(word) for word in ("Stir", "Serve", "\n\nThen")] == sorted(
            text.index(word) for word in ("Stir", "Serve", "\n\nThen")
        )
    assert "| Soup | • leek • a\\|b |" in own.text("notes.md")
    assert own.file("notes.md")["missing"] == []


def test_plain_text_is_no_markdown(own: Converted) -> None:
    kept = (
        "Dear <first name>,\n\n# not a heading\n  * indented_by two\n1) first line\nsecond line &amp; more\n\n    deep"
    )
    assert own.text("letter.txt") == kept
    assert own.markdown("letter.txt") == kept + "\n"
    assert own.file("letter.txt")["headings"] == 0


def test_a_word_file_has_its_changes_accepted(own: Converted) -> None:
    for text in (own.markdown("contract.docx"), own.text("contract.docx")):
        plain = text.replace("**", "")
        for line in (
            "The fee is seven euros.", "Stays.", "New place.", "One half, other half.", "In a control.",
            "10^6 parts CO_2, once", "~~25~~ euros, unbelievable.", "Noted.[^1]", "[^1]: Says the footnote.",
        ):  # fmt: skip
            assert line in plain.splitlines()
        assert not [word for word in ("five", "Old", "GONE", "Confidential", "Check") if word in plain]
        assert "• swim • dive" in " ".join(plain.split())
    assert own.file("contract.docx")["left_out"] == [
        "page furniture (menus, running heads and the like): 2 words (confidential draft)",
        "notes and comments: 2 words (check this)",
    ]
    assert own.file("contract.docx")["missing"] == []


def test_slides_keep_their_signs(own: Converted) -> None:
    for text in (own.markdown("slides.pptx"), own.text("slides.pptx")):
        assert "x^2 costs ~~9~~" in text
        assert "| • rope • hook |" in text
    assert own.file("slides.pptx")["left_out"] == ["what is hidden: 2 words (not shown)"]


def test_words_that_are_lost_are_said_on_the_command_line(tmp_path: Path) -> None:
    folder = small_recipe(tmp_path)
    (folder / "documents" / "faq.html").write_text("<p>Seen.</p><p aria-hidden='true'>Drawn by hand.</p>")
    lost = convert(folder, tmp_path / "runs")
    assert lost.file("faq.html")["missing"] == ["not in the markdown: 3 words (drawn by hand)"]
    assert "warning: faq.html: not in the markdown: 3 words (drawn by hand)" in lost.warned


@pytest.mark.case("html-lead")
def test_case_html_lead(tmp_path: Path) -> None:
    done = convert(case("html-lead", tmp_path), tmp_path / "runs")
    for name in ("blog.html", "guide.md"):
        for text in (done.markdown(name), done.text(name)):
            assert text.startswith("Visitors park in lot C. Lot A is for staff only.")
            assert "| C | 2 euros |" in text and "Stands are at the north door." in text
        assert done.file(name)["missing"] == []
    assert "- Lot C opens at 7.\n- The gate closes at 22." in done.text("blog.html")


# What a reader of the file sees, from its beginning to its end.
MIXED = (
    "LEADIN Text that stands before any heading",
    "a < b && b < c holds",
    "make <package>",  # chunks are text, without the marks of code
    "and a generic such as List<Item> in prose.",
    "PARAHTML Some paragraph of HTML.",
    "AFTERHTML Text after the paragraph",
    "snake_case_name and 2*3*4",
    "[ ] TODOITEM check the fuse",
    "[x] DONEITEM check the lamp",
    "PIPECELL x",
    "FOOTNOTETEXT said below.",
    "INDENTED code_by_indent(1)",
    "$$E = mc^2$$",
    "$a_1 * b_1 < c_1$",
)


def assert_in_order(text: str, pieces: Iterable[str]) -> None:
    place = 0
    for piece in pieces:
        assert piece in text[place:]
        place = text.index(piece, place) + len(piece)


@pytest.mark.case("md-inline-html")
def test_case_md_inline_html(tmp_path: Path) -> None:
    done = convert(case("md-inline-html", tmp_path), tmp_path / "runs")
    for text in (done.markdown("mixed.md"), done.text("mixed.md")):
        assert_in_order(text, MIXED)
    assert "List<Item> and 00:16 ----> 00:18" in done.text("plain.md")
    assert [file["missing"] for file in done.said["files"]] == [[], []]


@pytest.mark.case("docx-tracked")
def test_case_docx_tracked(tmp_path: Path) -> None:
    done = convert(case("docx-tracked", tmp_path), tmp_path / "runs")
    for text in (done.markdown("fees.docx"), done.text("fees.docx")):
        assert_in_order(text, ("The fee is INSERTED fifteen euros", "WHOLEINSERTED", "ROWKEPT", "ROWINSERTED Summer"))
        assert "INNERTABLE" in text
        assert not [word for word in ("DELETED", "HIDDEN") if word in text]
    assert done.file("fees.docx")["missing"] == []

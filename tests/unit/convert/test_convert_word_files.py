"""Word files with tracked changes, as generated: what is inserted is kept, what is deleted is not. Docling is real."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from docx import Document
from docx.oxml import parse_xml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuning_room.convert.chunks import document_chunks
from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.reader import DoclingReader
from tuning_room.convert.sources import Source
from tuning_room.convert.totals import totals

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
RUN = '<w:r><w:t xml:space="preserve"> {} </w:t></w:r>'
KEPT = {
    "plain": RUN,
    "inserted": f'<w:ins w:id="1">{RUN}</w:ins>',
    "moved here": f'<w:moveTo w:id="1">{RUN}</w:moveTo>',
    "control": f"<w:sdt><w:sdtPr/><w:sdtContent>{RUN}</w:sdtContent></w:sdt>",
    "link": f'<w:hyperlink w:anchor="a">{RUN}</w:hyperlink>',
    "field": f'<w:fldSimple w:instr="DATE">{RUN}</w:fldSimple>',
    "tag": f'<w:smartTag w:element="e">{RUN}</w:smartTag>',
}
GONE = {
    "deleted": '<w:del w:id="1"><w:r><w:delText>{}</w:delText></w:r></w:del>',
    "inserted and deleted": '<w:ins w:id="1"><w:del w:id="2"><w:r><w:delText>{}</w:delText></w:r></w:del></w:ins>',
    "moved away": f'<w:moveFrom w:id="1">{RUN}</w:moveFrom>',
    "hidden": "<w:r><w:rPr><w:vanish/></w:rPr><w:t>{}</w:t></w:r>",
}


class Line(NamedTuple):
    """A paragraph: the ways in which its words are set, whether its mark is deleted, and its style."""

    ways: list[str]
    joined: bool
    style: str


WAYS = st.lists(st.sampled_from([*KEPT, *GONE]), min_size=1, max_size=4)
LINES = st.builds(Line, WAYS, st.booleans(), st.sampled_from(["", "ListBullet", "ListNumber"]))
ROWS = st.tuples(st.booleans(), st.lists(LINES, min_size=2, max_size=2))


class Written(NamedTuple):
    """The words of a file that stay and those that go, in the order of the file."""

    kept: list[str]
    gone: list[str]


def write(lines: list[Line], rows: list[tuple[bool, list[Line]]], path: Path) -> Written:
    """Write paragraphs, a table, some of whose rows are deleted, and a last paragraph."""
    written = Written([], [])

    def paragraph(line: Line, *, goes: bool = False) -> str:
        inner = ""
        for way in line.ways:
            word = f"w{len(written.kept) + len(written.gone)}x"
            (written.gone if goes or way in GONE else written.kept).append(word)
            inner += {**KEPT, **GONE}[way].format(word)
        style = f'<w:pStyle w:val="{line.style}"/>' if line.style else ""
        mark = '<w:rPr><w:del w:id="3"/></w:rPr>' if line.joined else ""
        return f"<w:p><w:pPr>{style}{mark}</w:pPr>{inner}</w:p>"

    body = "".join(map(paragraph, lines))
    table = ""
    for goes, cells in rows:
        inner = "".join(f"<w:tc>{paragraph(line, goes=goes)}<w:p/></w:tc>" for line in cells)
        mark = '<w:del w:id="4"/>' if goes else ""
        table += f"<w:tr><w:trPr>{mark}</w:trPr>{inner}</w:tr>"
    if table:
        body += f"<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid>{table}</w:tbl>"
    body += paragraph(Line(["plain"], joined=False, style=""))
    file = Document()
    for element in reversed(list(parse_xml(f"<w:body {W}>{body}</w:body>"))):
        file.element.body.insert(0, element)
    file.save(str(path))
    return written


@pytest.fixture(scope="module")
def read() -> Callable[[Path], tuple[str, list[str]]]:
    """Return the text of a file's chunks, and what is missing from it."""
    reader = DoclingReader(ConvertConfig())

    def text(path: Path) -> tuple[str, list[str]]:
        source = Source(path, path.name, "docx")
        document = reader.read(source).document
        chunks = document_chunks(document, path.name, 2000)
        found = "\n".join(chunk.text for chunk in chunks)
        return found, totals(source, document, found, chunks).missing

    return text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=4), rows=st.lists(ROWS, max_size=3))
def test_changes_are_accepted(
    lines: list[Line],
    rows: list[tuple[bool, list[Line]]],
    read: Callable[[Path], tuple[str, list[str]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("word") / "a.docx"
    written = write(lines, rows, path)
    text, missing = read(path)
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    assert [word for word in words if word.startswith("w")] == written.kept
    assert missing == []


def test_paragraphs_with_a_deleted_mark_are_one(read: Callable[[Path], tuple[str, list[str]]], tmp_path: Path) -> None:
    first, second = Line(["plain"], joined=True, style=""), Line(["plain", "deleted"], joined=False, style="")
    write([first, second], [], tmp_path / "a.docx")
    assert read(tmp_path / "a.docx")[0].splitlines()[0].split() == ["w0x", "w1x"]

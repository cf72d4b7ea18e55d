"""Text recognition offline: RapidOCR with the models of its package, through Docling, on scans that are made here.

The scans are pages of a PDF drawn as pixels at the resolution of an office scanner, turned and greyed a little: paper
that is creased, handwritten or badly lit is not tried.
"""

import re
from pathlib import Path
from typing import Any

import convert_samples as samples
import pypdfium2
import pytest
from docling_core.types.doc import DoclingDocument
from PIL import Image, ImageFilter
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from tuning_room.convert import ConvertConfig, ConvertResult, installed, processes, run
from tuning_room.errors import DocumentError
from tuning_room.records import Chunk, read_jsonl
from tuning_room.workspace import Workspace

DPI = 200
# The second problem of a page, and how far down the page it begins. A page is white from there: each line takes time.
SECOND, ABOVE_SECOND = "Problem 1.2", 0.34
TEXT = "This page has text that can be copied."


def page_images(path: Path, pages: int) -> list[Image.Image]:
    """The first pages of a handbook as a scanner sees them."""
    source = path.with_name(f".{path.stem}-source.pdf")
    samples.write_handbook(source, chapters=pages)
    with pypdfium2.PdfDocument(source) as document:
        drawn = [document[number].render(scale=DPI / 72).to_pil().convert("L") for number in range(pages)]
    source.unlink()
    for page in drawn:
        page.paste(255, (0, int(page.height * ABOVE_SECOND), page.width, page.height))
    return [page.rotate(0.4, fillcolor=255).filter(ImageFilter.GaussianBlur(0.6)) for page in drawn]


def write_scan(path: Path, pages: int = 1, *, with_text: bool = False) -> None:
    """Write a PDF whose pages are pictures only, after a page of text if asked for."""
    canvas = Canvas(str(path), pagesize=A4)
    if with_text:
        canvas.drawString(72, 700, TEXT)
        canvas.showPage()
    for image in page_images(path, pages):
        canvas.drawImage(ImageReader(image), 0, 0, *A4)
        canvas.showPage()
    canvas.save()


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def recall(text: str, expected: list[str]) -> float:
    """The share of the expected words that are there, each counted once."""
    left = words(text)
    found = 0
    for word in expected:
        if word in left:
            left.remove(word)
            found += 1
    return found / len(expected)


def expected_words(tmp_path: Path) -> list[str]:
    """The words of the first page, from the file that the scan was drawn from."""
    samples.write_handbook(tmp_path / "expected.pdf", chapters=1)
    with pypdfium2.PdfDocument(tmp_path / "expected.pdf") as document:
        return words(document[0].get_textpage().get_text_range().split(SECOND)[0])


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[ConvertResult, Workspace, Path]:
    folder = tmp_path_factory.mktemp("scans")
    documents = folder / "documents"
    documents.mkdir()
    write_scan(documents / "mixed.pdf", with_text=True)
    (page,) = page_images(documents / "page.png", 1)
    page.save(documents / "page.png", dpi=(DPI, DPI))
    small = page.crop((0, 0, page.width, page.height // 6))
    small.convert("RGB").save(documents / "photo.jpg", quality=80)
    small.save(documents / "pages.tiff", save_all=True, append_images=[small], dpi=(DPI, DPI))
    Image.new("L", (300, 300), 255).save(documents / "white.png")
    workspace = Workspace(folder / "run")
    return run(ConvertConfig(documents=documents), workspace), workspace, folder


def text_of(scans: tuple[Any, Workspace, Path], name: str) -> str:
    return (scans[1].documents / f"{name}.md").read_text()


@pytest.mark.parametrize("name", ["mixed.pdf", "page.png"])
def test_words_are_recognised(name: str, scans: tuple[ConvertResult, Workspace, Path]) -> None:
    assert recall(text_of(scans, name), expected_words(scans[2])) > 0.95


def test_a_page_with_text_is_left_as_it_is(scans: tuple[ConvertResult, Workspace, Path]) -> None:
    document = DoclingDocument.load_from_json(scans[1].documents / "mixed.pdf.json")
    assert [text.text for text in document.texts if text.prov[0].page_no == 1] == [TEXT]
    chunks = [chunk for chunk in read_jsonl(scans[1].chunks, Chunk) if chunk.document == "mixed.pdf"]
    assert {chunk.page for chunk in chunks} == {1, 2}


def test_headings_of_a_scan(scans: tuple[ConvertResult, Workspace, Path]) -> None:
    headings = re.findall(r"^#+ (.*)$", text_of(scans, "page.png"), re.MULTILINE)
    assert "Chapter 1: Topic of week 1" in headings
    assert not [heading for heading in headings if len(heading) > 60]


def test_a_photograph_is_read(scans: tuple[ConvertResult, Workspace, Path]) -> None:
    assert "Chapter 1: Topic of week 1" in text_of(scans, "photo.jpg")


def test_each_page_of_a_tiff_is_read(scans: tuple[ConvertResult, Workspace, Path]) -> None:
    assert text_of(scans, "pages.tiff").count("Topic of week 1") == 2
    assert next(file for file in scans[0].files if file.name == "pages.tiff").pages == 2


def test_an_image_without_text_is_passed_over(scans: tuple[ConvertResult, Workspace, Path]) -> None:
    assert [(file.name, file.reason) for file in scans[0].skipped] == [("white.png", "an image without text")]
    assert not (scans[1].documents / "white.png.md").exists()


def test_without_the_packages_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "OCR_PACKAGES", ("no_such_package",))
    # In this process, since another one would not know of it.
    monkeypatch.setattr(processes, "MAY_HANG", set())
    monkeypatch.setattr(processes, "LARGE", 10**9)
    (tmp_path / "documents").mkdir()
    write_scan(tmp_path / "documents" / "scan.pdf")
    with pytest.raises(DocumentError, match=r"scan\.pdf: there is no text .*pip install '\.\[ocr\]'"):
        run(ConvertConfig(documents=tmp_path / "documents"), Workspace(tmp_path / "run"))


def test_without_the_packages_a_page_without_text_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installed, "OCR_PACKAGES", ("no_such_package",))
    monkeypatch.setattr(processes, "MAY_HANG", set())
    monkeypatch.setattr(processes, "LARGE", 10**9)
    (tmp_path / "documents").mkdir()
    write_scan(tmp_path / "documents" / "mixed.pdf", with_text=True)
    run(ConvertConfig(documents=tmp_path / "documents"), Workspace(tmp_path / "run"))
    assert "mixed.pdf: no text on pages 2; if it is a scan" in caplog.text


def test_a_broken_image_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    with pytest.raises(DocumentError, match=r"broken\.png: not a readable image"):
        run(ConvertConfig(documents=tmp_path / "documents"), Workspace(tmp_path / "run"))

"""What is refused before it is opened. Every file is made here; the archives are real ones, some of them hostile."""

import codecs
import struct
import zipfile
from pathlib import Path

import convert_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.sources import FORMATS, IMAGES, Source, check_encoding, content_kind, inspect
from tuning_room.errors import DocumentError

LIMIT = 1_000_000


def check(path: Path, **knobs: int) -> None:
    kind = {**FORMATS, **IMAGES}[path.suffix]
    inspect(Source(path, path.name, kind), ConvertConfig(documents=path.parent, **knobs))


def word_with(path: Path, name: str, content: bytes) -> Path:
    """A Word file with one more member."""
    samples.write_word(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def declare(path: Path, name: str, size: int) -> None:
    """Change the size that an archive declares for a member, in its directory and before the member itself."""
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            header = 46 if signature == b"PK\x01\x02" else 30
            if content[start + header :].startswith(name.encode()):
                content[start + place : start + place + 4] = struct.pack("<I", size)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.md", b"", "the file is empty"),
        ("picture.pdf", b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "the content is png, not pdf"),
        ("paper.docx", b"%PDF-1.7\n", "the content is pdf, not docx"),
        ("paper.md", b"%PDF-1.7\n", "the content is pdf, not md"),
        ("text.png", b"some text", "the content is of an unknown kind, not image"),
        ("old.xlsx", b"GIF89a", "the content is gif, not xlsx"),
        ("half.docx", b"PK\x03\x04" + b"\0" * 200, "the content is damaged zip, not docx"),
        ("zeros.txt", b"one\ntwo\0\n", r"zeros.txt:2: the file contains NUL bytes"),
    ],
)
def test_refused(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DocumentError, match=reason) as error:
        check(tmp_path / name)
    assert name in str(error.value)
    assert error.value.hint


def test_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    path.write_bytes(b"a,b\n" * 300_000)
    with pytest.raises(DocumentError, match=r"huge.csv: 1.2 MB is over the limit of 1 MB; split it, or raise"):
        check(path, max_file_mb=1)
    check(path, max_file_mb=2)


def test_archive_that_declares_too_much(tmp_path: Path) -> None:
    path = word_with(tmp_path / "bomb.docx", "word/media/zeros.bin", bytes(3 * LIMIT))
    assert path.stat().st_size < LIMIT / 10
    with pytest.raises(DocumentError, match=r"bomb.docx: unpacks to more than 2 MB"):
        check(path, max_unpacked_mb=2)
    check(path, max_unpacked_mb=4)


def test_archive_that_lies_about_its_size(tmp_path: Path) -> None:
    path = word_with(tmp_path / "liar.docx", "word/media/zeros.bin", bytes(3 * LIMIT))
    declare(path, "word/media/zeros.bin", 1000)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("word/media/zeros.bin").file_size == 1000
    with pytest.raises(DocumentError, match=r"liar.docx: .*(unpacks to more than 2 MB|archive is damaged)"):
        check(path, max_unpacked_mb=2)


def test_archive_whose_members_share_their_bytes(tmp_path: Path) -> None:
    """Many entries of the directory that point to the same bytes, as in the densest archives there are."""
    path = word_with(tmp_path / "shared.docx", "word/media/zeros.bin", bytes(LIMIT))
    with zipfile.ZipFile(path, "a") as archive:
        member = archive.getinfo("word/media/zeros.bin")
        archive.filelist.extend([member] * 5)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(DocumentError, match="unpacks to more than 3 MB"):
        check(path, max_unpacked_mb=3)


def test_office_kinds_are_told_apart(tmp_path: Path) -> None:
    samples.write_word(tmp_path / "a.pptx")
    samples.write_slides(tmp_path / "b.pptx")
    (tmp_path / "c.zip").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("anything", "x")
    assert [content_kind(tmp_path / name) for name in ("a.pptx", "b.pptx", "c.zip")] == ["docx", "pptx", "zip"]


def encoded(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_it_is_encoded(mark: str, tmp_path: Path) -> None:
    check(encoded(tmp_path, "marked.md", "Der Würfel fällt.".encode(mark)))


def test_half_a_character_after_a_mark(tmp_path: Path) -> None:
    path = encoded(tmp_path, "odd.txt", codecs.BOM_UTF16_LE + "ab".encode("utf-16-le") + b"\x00")
    with pytest.raises(DocumentError, match=r"odd.txt:1: byte 7 of the file \(0x00\) is not UTF-16"):
        check(path)


def test_a_web_page_may_say_how_it_is_encoded(tmp_path: Path) -> None:
    page = '<html><head><meta charset="{}"></head><body>Würfel</body></html>'
    check(encoded(tmp_path, "old.html", page.format("iso-8859-1").encode("latin-1")))
    for name in ("utf-8", "no-such-encoding"):
        with pytest.raises(DocumentError, match=r"is not UTF-8; save the file as UTF-8"):
            check(encoded(tmp_path, "wrong.html", page.format(name).encode("latin-1")))


@given(st.binary(max_size=40), st.booleans())
def test_every_text_is_decoded_or_refused_with_a_place(content: bytes, is_html: bool) -> None:
    try:
        check_encoding(Path("a.txt"), content, is_html=is_html)
    except DocumentError as error:
        assert str(error).startswith("a.txt:")
    else:
        assert b"\0" not in content or content.startswith(
            (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
        )

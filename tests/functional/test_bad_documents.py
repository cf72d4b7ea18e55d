"""A folder of bad documents on the real command line: each is named with what to do, and the good ones are kept.

Real: the command line, Docling, the files, which are made here. One run converts as well as it can, one passes over.
"""

import json
import zipfile
from pathlib import Path

import pytest
import yaml
from bakery import run, small_recipe
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

WORDS = {
    "bomb.docx": "unpacks to more than 2 MB",
    "broken.pdf": "not a readable pdf document",
    "empty.html": "the file is empty; replace it",
    "huge.csv": "is over the limit of 1 MB",
    "latin.txt": "latin.txt:1: byte 6 of the file (0xfc) is not UTF-8; save the file as UTF-8",
    "locked.pdf": "the document is encrypted; save a copy without a password",
    "locked.xlsx": "the document is encrypted; save a copy without a password",
    "picture.pdf": "the content is png, not pdf; give the file the right extension",
}


def write_bad(folder: Path) -> None:
    with zipfile.ZipFile(folder / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(3_000_000))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really\n")
    (folder / "empty.html").write_bytes(b"")
    (folder / "huge.csv").write_bytes(b"a,b\n" * 300_000)
    (folder / "latin.txt").write_bytes("Der Würfel fällt.\n".encode("latin-1"))
    canvas = Canvas(str(folder / "locked.pdf"), encrypt=StandardEncryption("secret"))
    canvas.drawString(72, 700, "Nobody can read this.")
    canvas.save()
    (folder / "locked.xlsx").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") * 64)
    (folder / "picture.pdf").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_recipe(tmp_path_factory.mktemp("bad-documents"), convert={"max_unpacked_mb": 2, "max_file_mb": 1})
    write_bad(folder / "documents")
    return folder


def test_each_bad_document_is_named_and_the_good_one_is_kept(folder: Path) -> None:
    failed = run("convert", ".", cwd=folder)
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr + failed.stdout
    first, *lines = failed.stderr.splitlines()
    assert first == "error: 8 of 9 documents cannot be converted"
    for line, (name, words) in zip(lines, WORDS.items(), strict=False):
        assert name in line and words in line
    assert not (folder / "runs" / "small" / "chunks.jsonl").exists()

    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["convert"]["on_error"] = "skip"
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    passed = run("convert", ".", "--json", cwd=folder)
    assert passed.returncode == 0
    result = json.loads(passed.stdout)
    assert (result["documents"], result["reused"]) == (1, 1)
    assert [file["name"] for file in result["failed"]] == list(WORDS)
    assert "huge.csv: 1.2 MB is over the limit of 1 MB" in passed.stderr
    assert "Traceback" not in passed.stderr


def test_explain_names_them_too(folder: Path) -> None:
    told = run("convert", ".", "--explain", "--json", cwd=folder)
    routes = {route["name"]: route for route in json.loads(told.stdout)["documents"]}
    assert {name for name, route in routes.items() if route["route"] == "refused"} == set(WORDS)
    assert routes["faq.html"]["route"] == "docling"

"""How well real documents are read: `python benchmarks/convert.py --fetch` once, then without it.

Ours is the conversion by rules. Peers in the same run: Docling's NativePdfPipeline, and pdftotext (poppler-utils).
The reference is the text of pdftotext for a PDF, of the page's body for HTML. All figures are shares of it:

- recall: of its words, as a multiset, in our markdown. Words that we set aside as running heads and page numbers
  leave the reference first; `aside` says how many there are.
- precision: of our words, in the reference.
- order: of its sequences of five words, in ours.
- headings: of the titles in the PDF's own outline, among our headings; for pdftotext, on a line of their own.
- tables: those found; `captions` counts the lines that begin with "Table 1:" or the like.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from convert_documents import CACHE, DOCUMENTS, RealDocument, fetch, outline, write_copy

SEQUENCE = 5
CAPTION = re.compile(r"^(Table|TABLE|Tabelle|Tabla)\s+(\d+)\s*[.:]", re.MULTILINE)
NUMBERING = re.compile(
    r"^((chapter|part|appendix)\s+)?([\divxa-h]+\.)*\s*(\d+|[ivx]+|[a-h])?[.:]?\s+(?=\S)", re.IGNORECASE
)
SAME_TITLE = 0.9
COLUMNS = [
    "document",
    "what it is",
    "pages",
    "recall",
    "precision",
    "order",
    "Docling native: recall, order",
    "headings of the outline (ours marked)",
    "the same on a line of pdftotext",
    "tables (captions)",
    "aside",
    "s a page: ours, native, pdftotext",
]


class Reading(NamedTuple):
    """What one program made of a document; `aside` is its text of running heads, seconds are wall time."""

    text: str
    headings: list[str]
    tables: int
    aside: str
    seconds: float


class Score(NamedTuple):
    """One program's figures for one document; shares from 0 to 1, None where there is nothing to compare with."""

    recall: float
    precision: float
    order: float
    headings: float | None
    marked: int
    tables: int
    aside: float
    seconds_a_page: float


class Row(NamedTuple):
    """The figures for one document."""

    name: str
    trait: str
    pages: int
    titles: int
    captions: int
    scores: dict[str, Score]


def words(text: str) -> list[str]:
    """Return the words of a text in one form: no ligatures, capitals or markup."""
    plain = unicodedata.normalize("NFKC", text).replace("\u00ad", "").replace("\\", "")
    return re.findall(r"[^\W_]+", plain.lower())


def share(part: Counter[Any], whole: Counter[Any]) -> float:
    """Return the share of a multiset that another one has; 1 of nothing."""
    return (part & whole).total() / whole.total() if whole else 1.0


def sequences(found: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Return the sequences of five words."""
    return Counter(zip(*(found[start:] for start in range(SEQUENCE)), strict=False))


def title_key(title: str) -> str:
    """Return a title without its number, in one form."""
    plain = unicodedata.normalize("NFKC", title).strip()
    return " ".join(words(NUMBERING.sub("", plain))) or " ".join(words(plain))


def recovered(titles: Sequence[str], headings: Iterable[str]) -> float | None:
    """Return the share of the titles that are among the headings, each heading counted once."""
    left = Counter(title_key(heading) for heading in headings)
    found = 0
    for key in map(title_key, titles):
        match = next((other for other in left if _is_same(key, other)), None)
        if match is not None:
            found += 1
            left -= Counter([match])
    return found / len(titles) if titles else None


def _is_same(one: str, other: str) -> bool:
    if one == other:
        return True
    # quick_ratio is an upper bound and much faster.
    matcher = SequenceMatcher(None, one, other)
    return matcher.quick_ratio() >= SAME_TITLE and matcher.ratio() >= SAME_TITLE


def score(reading: Reading, reference: str, titles: Sequence[str], pages: int) -> Score:
    """Return how a reading compares with the reference."""
    expected, found, aside = words(reference), words(reading.text), Counter(words(reading.aside))
    body = Counter(expected) - aside
    return Score(
        recall=share(Counter(found), body),
        precision=share(Counter(expected), Counter(found)),
        order=share(sequences(found), sequences(expected)),
        headings=recovered(titles, reading.headings),
        marked=len(reading.headings),
        tables=reading.tables,
        aside=aside.total() / max(1, len(expected)),
        seconds_a_page=reading.seconds / pages,
    )


def timed(read: Callable[[Path], Reading], path: Path) -> Reading:
    """Return a reading with its wall time."""
    started = time.perf_counter()
    return read(path)._replace(seconds=time.perf_counter() - started)


def our_reader() -> Callable[[Path], Reading]:
    """Return the conversion by rules, set up."""
    from tuning_room.convert.config import ConvertConfig
    from tuning_room.convert.reader import DoclingReader
    from tuning_room.convert.sources import FORMATS, Source

    reader = DoclingReader(ConvertConfig(documents=Path(), layout="rules"))
    return lambda path: _reading(reader.read(Source(path, path.name, FORMATS[path.suffix])).document)


def native_reader() -> Callable[[Path], Reading]:
    """Return Docling's pipeline without models, set up."""
    from docling.datamodel.base_models import InputFormat
    from docling.datamodel.pipeline_options import NativePdfPipelineOptions
    from docling.document_converter import DocumentConverter, PdfFormatOption
    from docling.pipeline.native_pdf_pipeline import NativePdfPipeline

    options = NativePdfPipelineOptions(generate_page_images=False)
    option = PdfFormatOption(pipeline_cls=NativePdfPipeline, pipeline_options=options)
    converter = DocumentConverter(allowed_formats=[InputFormat.PDF], format_options={InputFormat.PDF: option})
    return lambda path: _reading(converter.convert(path).document)


def _reading(document: Any) -> Reading:
    from docling_core.types.doc import ContentLayer

    text = document.export_to_markdown(escape_html=False, escape_underscores=False, compact_tables=True)
    marked = [item.text for item in document.texts if item.label.value in ("title", "section_header")]
    aside = [item.text for item in document.texts if item.content_layer == ContentLayer.FURNITURE]
    return Reading(text, marked, len(document.tables), "\n".join(aside), 0.0)


def pdftotext(path: Path) -> Reading:
    """Return what pdftotext reads: all text in its reading order, nothing marked."""
    done = subprocess.run(["pdftotext", "-enc", "UTF-8", path, "-"], check=True, capture_output=True)
    text = done.stdout.decode("utf-8")
    return Reading(text, [line for line in text.splitlines() if line.strip()], 0, "", 0.0)


def html_text(path: Path) -> str:
    """Return the text of a page's body; scripts and styles are none."""
    from bs4 import BeautifulSoup

    body = BeautifulSoup(path.read_bytes(), "html.parser").body
    assert body
    for unseen in body(["script", "style"]):
        unseen.decompose()
    return str(body.get_text(" "))


def measure(document: RealDocument, cache: Path, folder: Path, readers: dict[str, Callable[[Path], Reading]]) -> Row:
    """Return one document's figures."""
    path = write_copy(document, cache, folder)
    if path.suffix != ".pdf":
        found = {"ours": score(timed(readers["ours"], path), html_text(path), [], 1)}
        return Row(document.name, document.trait, 1, 0, 0, found)
    import pypdfium2

    pages, titles, reference = len(pypdfium2.PdfDocument(path)), outline(document, cache), pdftotext(path).text
    scores = {name: score(timed(read, path), reference, titles, pages) for name, read in readers.items()}
    captions = len({match[1] for match in CAPTION.findall(reference)})
    return Row(document.name, document.trait, pages, len(titles), captions, scores)


def summary(rows: Sequence[Row], reader: str) -> dict[str, float]:
    """Return a reader's means over the PDFs, each document counted once; seconds over all pages."""
    scores = [row.scores[reader] for row in rows]
    found = [entry.headings for entry in scores if entry.headings is not None]
    pages = sum(row.pages for row in rows)
    return {
        "text_recall": round(fmean(entry.recall for entry in scores), 4),
        "text_precision": round(fmean(entry.precision for entry in scores), 4),
        "reading_order": round(fmean(entry.order for entry in scores), 4),
        "heading_recall": round(fmean(found), 4) if found else 0.0,
        "tables": sum(entry.tables for entry in scores),
        "seconds_a_page": round(
            sum(row.scores[reader].seconds_a_page * row.pages for row in rows) / pages,
            5,
        ),
    }


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the means of all readers, and ours over each peer's (a peer's zero gives none)."""
    pdfs = [row for row in rows if len(row.scores) > 1]
    ours, *peers = (summary(pdfs, reader) for reader in ("ours", "docling_native", "pdftotext"))
    named = dict(zip(("docling_native", "pdftotext"), peers, strict=True))
    ratios = {
        name: {key: round(ours[key] / value, 3) for key, value in peer.items() if value} for name, peer in named.items()
    }
    return {"ours": ours, "peers": named, "ratios": ratios, "documents": [_row_json(row) for row in rows]}


def _row_json(row: Row) -> dict[str, Any]:
    return {**row._asdict(), "scores": {name: entry._asdict() for name, entry in row.scores.items()}}


def table(rows: Sequence[Row]) -> str:
    """Return the figures as a markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    return "\n".join([*lines, *(_table_row(row) for row in rows)])


def _table_row(row: Row) -> str:
    ours, native, plain = (row.scores.get(name) for name in ("ours", "docling_native", "pdftotext"))
    assert ours
    seconds = ", ".join(f"{entry.seconds_a_page:.3f}" for entry in (ours, native, plain) if entry)
    cells = [
        f"`{row.name}`",
        row.trait,
        f"{row.pages}",
        f"{ours.recall:.1%}",
        f"{ours.precision:.1%}",
        f"{ours.order:.1%}",
        f"{native.recall:.1%}, {native.order:.1%}" if native else "",
        f"{_percent(ours.headings)} of {row.titles} ({ours.marked})" if row.titles else f"no outline ({ours.marked})",
        _percent(plain.headings) if plain else "",
        f"{ours.tables} ({row.captions})",
        f"{ours.aside:.1%}",
        seconds,
    ]
    return f"| {' | '.join(cells)} |"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", action="store_true", help="first download the documents (apt-get download)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the documents")
    parser.add_argument("--only", default="", help="part of a name: measure these documents only")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.fetch:
        fetch(options.cache)
    readers = {"ours": our_reader(), "docling_native": native_reader(), "pdftotext": pdftotext}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        chosen = [document for document in DOCUMENTS if options.only in document.name]
        _warm(chosen[0], options.cache, Path(folder), readers)
        for document in chosen:
            print(document.name, file=sys.stderr)
            rows.append(measure(document, options.cache, Path(folder), readers))
    print(json.dumps(as_json(rows), indent=2) if options.json else table(rows))


def _warm(document: RealDocument, cache: Path, folder: Path, readers: dict[str, Callable[[Path], Reading]]) -> None:
    """Read one file before the clock starts: the first conversion imports half of Docling."""
    path = write_copy(document, cache, folder)
    for read in readers.values() if path.suffix == ".pdf" else [readers["ours"]]:
        read(path)


if __name__ == "__main__":
    main()

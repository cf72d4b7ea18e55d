"""The real documents of the convert benchmark: what Debian's documentation packages ship, and how to fetch them."""

import gzip
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tuning-room" / "benchmark-documents"
# Longer files are cut: the first pages of a manual are as varied as its last.
PAGES = 20


class RealDocument(NamedTuple):
    """A file of a package, the page it is read from (from 1), and what is hard about it."""

    package: str
    path: str
    trait: str
    first: int = 1

    @property
    def name(self) -> str:
        """Return the file's name without its folders."""
        return Path(self.path).name.removesuffix(".gz")


LIBRARY = "usr/lib/R/site-library"
DOCUMENTS = [
    RealDocument("r-cran-rcpp", f"{LIBRARY}/Rcpp/doc/Rcpp-introduction.pdf", "paper, two columns"),
    RealDocument("r-cran-rcpparmadillo", f"{LIBRARY}/RcppArmadillo/doc/RcppArmadillo-intro.pdf", "paper, code, tables"),
    RealDocument("r-cran-mvtnorm", f"{LIBRARY}/mvtnorm/doc/MVT_Rnews.pdf", "newsletter, two columns, formulas"),
    RealDocument("r-cran-sandwich", f"{LIBRARY}/sandwich/doc/sandwich.pdf", "paper, formulas, footnotes, tables"),
    RealDocument("r-cran-vcd", f"{LIBRARY}/vcd/doc/strucplot.pdf", "paper, tables ruled horizontally"),
    RealDocument("r-cran-survival", "usr/lib/R/library/survival/doc/compete.pdf", "report, tables, formulas"),
    RealDocument("zlib1g-dev", "usr/share/doc/zlib1g-dev/crc-doc.1.0.pdf.gz", "paper, formulas"),
    RealDocument("pari-doc", "usr/share/pari/doc/refcard.pdf", "reference card, three columns"),
    RealDocument("pari-doc", "usr/share/pari/doc/develop.pdf", "plain TeX manual"),
    RealDocument("glpk-doc", "usr/share/doc/glpk-doc/gmpl.pdf", "LaTeX manual"),
    RealDocument("sbcl-doc", "usr/share/doc/sbcl/sbcl.pdf.gz", "Texinfo manual", first=9),
    RealDocument("sbcl-doc", "usr/share/doc/sbcl/sbcl-internals.pdf.gz", "Texinfo manual"),
    RealDocument("asymptote-doc", "usr/share/doc/asymptote/asymptote.pdf", "Texinfo manual"),
    RealDocument("gnuplot-doc", "usr/share/doc/gnuplot/gnuplot.pdf", "LaTeX manual", first=21),
    RealDocument("maxima-doc", "usr/share/doc/maxima-doc/maximabook-19-Sept-2004.pdf.gz", "LaTeX book of 2004"),
    RealDocument("fontconfig", "usr/share/doc/fontconfig/fontconfig-user.pdf.gz", "manual page made from DocBook"),
    RealDocument("python3.11-doc", "usr/share/doc/python3.11/html/tutorial/introduction.html", "HTML by Sphinx"),
    RealDocument("python3.11-doc", "usr/share/doc/python3.11/html/library/json.html", "HTML by Sphinx"),
    RealDocument("postgresql-doc-15", "usr/share/doc/postgresql-doc-15/html/sql-select.html", "HTML by DocBook"),
]


def fetch(cache: Path) -> None:
    """Download and unpack the packages with apt-get and dpkg-deb; nothing is installed.

    Raises CalledProcessError if a package cannot be had.
    """
    archives = cache / "packages"
    archives.mkdir(parents=True, exist_ok=True)
    packages = sorted({document.package for document in DOCUMENTS})
    subprocess.run(["apt-get", "download", *packages], cwd=archives, check=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, cache], check=True)


def write_copy(document: RealDocument, cache: Path, folder: Path) -> Path:
    """Write the pages that are read to a folder and return the file; FileNotFoundError if it was not fetched."""
    content = whole_file(document, cache)
    path = folder / document.name
    if path.suffix != ".pdf":
        path.write_bytes(content)
        return path
    import pypdfium2

    whole, part = pypdfium2.PdfDocument(content), pypdfium2.PdfDocument.new()
    pages = range(document.first - 1, min(len(whole), document.first - 1 + PAGES))
    part.import_pages(whole, list(pages))
    part.save(path)
    return path


def outline(document: RealDocument, cache: Path) -> list[str]:
    """Return the titles of a PDF's bookmarks that lead to the pages that are read."""
    import pypdfium2

    whole = pypdfium2.PdfDocument(whole_file(document, cache))
    pages = range(document.first - 1, document.first - 1 + PAGES)
    places = [(mark.get_title(), mark.get_dest()) for mark in whole.get_toc()]
    return [title for title, place in places if place and place.get_index() in pages]


def whole_file(document: RealDocument, cache: Path) -> bytes:
    """Return a document's bytes, unpacked; FileNotFoundError if it was not fetched."""
    content = (cache / document.path).read_bytes()
    return gzip.decompress(content) if document.path.endswith(".gz") else content

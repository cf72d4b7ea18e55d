"""Repairs to what Docling loses of a format and the file still has: languages of code, names of sheets, formulas.

Import it late: Docling takes seconds.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from docling.utils.code_language import normalize_code_language
from docling_core.types.doc import CodeItem, DoclingDocument, GroupLabel
from docling_core.types.doc.labels import CodeLanguageLabel

if TYPE_CHECKING:
    from marko.element import Element

FENCE = "```\n"
PARSER = "html.parser"
TEX = "application/x-tex"


def name_languages(document: DoclingDocument, markdown: str) -> None:
    """Give each block of code the language that its fence names: Docling loses them if there is HTML in the file."""
    named = list(_fences(markdown))
    for item in _code(document):
        index = next((i for i, (_, text) in enumerate(named) if text == item.text.strip()), None)
        if index is not None:
            item.code_language = normalize_code_language(named[index][0])
            del named[: index + 1]


def _fences(markdown: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block."""
    from marko import Markdown
    from marko.block import FencedCode
    from marko.inline import RawText

    def below(element: "Element") -> Iterator[tuple[str, str]]:
        if isinstance(element, FencedCode):
            (text,) = element.children
            assert isinstance(text, RawText)
            yield element.lang, text.children.strip()
        elif isinstance(children := getattr(element, "children", None), list):
            for child in children:
                yield from below(child)

    yield from below(Markdown().parse(markdown))


def with_languages(markdown: str, document: DoclingDocument) -> str:
    """Return a document's markdown with the language of each block of code at its fence."""
    place = 0
    for item in _code(document):
        block = f"{FENCE}{item.text}\n"
        found = markdown.find(block, place)
        if found < 0:
            # Indented in a list or a table, or no block at all but a word of code.
            continue
        place = found + len(block)
        if item.code_language and item.code_language != CodeLanguageLabel.UNKNOWN:
            fence = f"{FENCE.strip()}{item.code_language.value.lower()}\n"
            markdown = f"{markdown[:found]}{fence}{markdown[found + len(FENCE) :]}"
    return markdown


def _code(document: DoclingDocument) -> list[CodeItem]:
    return [item for item, _ in document.iterate_items() if isinstance(item, CodeItem)]


def name_sheets(document: DoclingDocument) -> None:
    """Put the name of each sheet of a workbook above its tables, as a heading."""
    for group in document.groups:
        if group.label == GroupLabel.SHEET and group.children and group.content_layer.value == "body":
            first = group.children[0].resolve(document)
            document.insert_heading(sibling=first, text=group.name, level=1, after=False)


def with_formulas(html: str) -> bytes | None:
    """Return a web page in UTF-8 with its formulas as LaTeX where it has them so; None if there is nothing to do.

    MathML carries LaTeX in an annotation or as its alternative text, if it was made from LaTeX:
    '<math alttext="x^{2}"><mi>x</mi>...</math>' becomes '$x^{2}$'.
    """
    if "<math" not in html:
        return None
    from bs4 import BeautifulSoup

    page, found = BeautifulSoup(html, PARSER), False
    for formula in page.find_all("math"):
        annotation = formula.find("annotation", attrs={"encoding": TEX})
        latex = annotation.get_text() if annotation else str(formula.get("alttext") or "")
        if latex.strip():
            mark = "$$" if formula.get("display") == "block" else "$"
            formula.replace_with(f"{mark}{latex.strip()}{mark}")
            found = True
    return page.encode("utf-8-sig") if found else None

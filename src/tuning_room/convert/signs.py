"""How what a reader sees beside the bare letters is written: raised, lowered, struck out, glued together.

Docling joins the pieces of a sentence that are set differently with spaces, so a reader of a source marks where a
piece begins that no space separates from the one before it: `un` `GLUEDbeliev` `GLUEDable`. `unglued` takes the
marks out again, with the spaces that Docling put before them: `un**believ**able`.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument

# No character: Unicode keeps it for programs to use among themselves.
GLUED = "\ufdd0"
# Docling takes these out of web pages, but they part the letters of Persian words and join those of Hindi, and emoji.
JOINERS = {"\u200c": "\ufdd1", "\u200d": "\ufdd2"}
STRUCK = "~~"
BULLET = "•"
# What markdown may put between the space and the piece.
GLUE = re.compile(rf" *([*~`\[_$]*){GLUED}")
ORDINALS = frozenset({"st", "nd", "rd", "th"})
# Elements that stand in a line of text; all others begin a line of their own.
INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q rp rt ruby s samp small span "
    "strike strong sub sup time tt u var wbr".split()
)
# What is no element of HTML is a word in angle brackets: <Item>, <your name>.
ELEMENTS = INLINE | frozenset(
    "address applet area article aside audio base blockquote body br button canvas caption center col colgroup "
    "datalist dd details dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 "
    "h5 h6 head header hgroup hr html iframe img input legend li link main map math menu meta meter nav noscript "
    "object ol optgroup option output p param picture pre progress script search section select slot source style "
    "summary svg table tbody td template textarea tfoot th thead title tr track ul video".split()
)
SIMPLE = re.compile(r"[-\u2212\u2013+\u00b1]?[^\W_]+(?:[.,][^\W_]+)*")


def raised(text: str, after: str = "") -> str:
    """Return a superscript as a line of text has it: 10^3, x^(n+1), 1st; signs such as ™ stay alone.

    `after` is what follows without a space; x^2y needs no brackets, x^(n)y does.
    """
    return text.strip() if text.strip().lower() in ORDINALS else _marked("^", text, after)


def lowered(text: str, after: str = "") -> str:
    """Return a subscript as a line of text has it: H_2O, a_(n+1), a_(n)b."""
    return _marked("_", text, after)


def _marked(sign: str, text: str, after: str) -> str:
    text = " ".join(text.split())
    if not any(map(str.isalnum, text)) or (text[0], text[-1]) in {("[", "]"), ("(", ")")}:
        # A sign such as ™ or °; or a note's number that has its brackets.
        return text
    runs_on = after[:1].isalnum() and not (text.isdigit() and after[:1].isalpha())
    return f"{sign}{text}" if SIMPLE.fullmatch(text) and not runs_on else f"{sign}({text})"


def struck(text: str) -> str:
    """Return text that is struck out, between two tildes on each side; white space stays outside."""
    inner = text.strip()
    return text.replace(inner, f"{STRUCK}{inner}{STRUCK}") if inner else text


def protected(text: str) -> str:
    """Return text with stand-ins for its joiners, which Docling would take out."""
    for joiner, other in JOINERS.items():
        text = text.replace(joiner, other)
    return text


def unglued(text: str) -> str:
    """Return text without the marks and the spaces before them, and with its joiners."""
    text = GLUE.sub(r"\1", text) if GLUED in text else text
    for joiner, other in JOINERS.items():
        text = text.replace(other, joiner)
    return text


def unglue(document: "DoclingDocument") -> None:
    """Do the same in a document's own texts."""
    for item in document.texts:
        item.text, item.orig = unglued(item.text), unglued(item.orig)
    for cell in (cell for table in document.tables for cell in table.data.table_cells):
        cell.text = unglued(cell.text)

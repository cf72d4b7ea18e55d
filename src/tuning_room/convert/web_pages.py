"""A web page as Docling reads it: what it would lose or tear apart is put in order in the page's own tree first.

Import it late: Docling takes seconds.
"""

import re
from collections.abc import Iterable

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString, PageElement, PreformattedString
from docling.backend.html_backend import HTMLDocumentBackend
from docling_core.types.doc import DoclingDocument

from tuning_room.convert.signs import BULLET, GLUED, INLINE, STRUCK, lowered, protected, raised

HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
STRUCK_OUT = ["del", "s", "strike"]
FURNITURE_ROLES = ["navigation", "contentinfo", "dialog", "alertdialog", "search"]
# What asks for consent to cookies, by the names that people and the makers of such banners give it.
CONSENT = re.compile(
    r"(?:cookies?|consent|gdpr)[-_ ]?(?:banner|notice|bar|law|pop-?up|modal|overlay|message|warning|dialog|consent)"
    r"|onetrust|cybotcookie|didomi|usercentrics",
    re.IGNORECASE,
)
SKIP_LINK = re.compile(r"skip|jump", re.IGNORECASE)
# The signs of links to a heading, which show where the mouse is.
ANCHOR_SIGNS = ("\u00b6", "#", "\u00a7")
UNSEEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)", re.IGNORECASE)


class WebPageBackend(HTMLDocumentBackend):
    """Docling's reader of web pages, given a page that is put in order."""

    def convert(self) -> DoclingDocument:
        """Return the document."""
        if isinstance(self.soup, BeautifulSoup):
            set_furniture_apart(self.soup)
            put_in_order(self.soup)
        return super().convert()


def set_furniture_apart(page: BeautifulSoup) -> None:
    """Make page furniture known as such: Docling keeps a page's footer apart from its text, and nothing else.

    Docling's own rule, that all is furniture before the first heading, loses the lead of an article.
    """
    for tag in _furniture(page):
        if not tag.find(["h1", "main", "article"]):
            tag.name = "footer"


def _furniture(page: BeautifulSoup) -> list[Tag]:
    found: list[Tag] = [*page("nav"), *page("dialog"), *page(role=FURNITURE_ROLES)]
    found += [tag for tag in page(["div", "section", "aside", "form"]) if CONSENT.search(_names(tag))]
    found += [tag for tag in page("a", href=re.compile("^#")) if SKIP_LINK.match(tag.get_text(strip=True))]
    main = page.find("main") or page.find(role="main")
    if main:
        found += [tag for tag in page("header") if not tag.find_parent(["main", "article"])]
    heading = page.find(HEADINGS)
    before = heading.find_all_previous(["ul", "ol"]) if isinstance(heading, Tag) else []
    found += [tag for tag in before if isinstance(tag, Tag) and _is_menu(tag)]
    return found


def _names(tag: Tag) -> str:
    return " ".join([*(str(name) for name in tag.get_attribute_list("class")), str(tag.get("id", ""))])


def _is_menu(tag: Tag) -> bool:
    """Say whether a list outside the page's text holds nothing but links."""
    items = tag("li")
    if len(items) < 2 or tag.find_parent(["main", "article"]) or tag.find_parent(role="main"):
        return False
    linked = sum(len(link.get_text(strip=True)) for link in tag("a"))
    return linked == len(tag.get_text(strip=True))


def put_in_order(page: BeautifulSoup) -> None:
    """Write raised, lowered and struck text as text, keep the items of a cell apart, and mark what is glued."""
    for tag in page(style=UNSEEN_STYLE):
        tag.decompose()
    anchors = [tag for tag in page("a", href=re.compile("^#")) if tag.get_text(strip=True) in ANCHOR_SIGNS]
    for tag in [*page("wbr"), *anchors]:
        tag.decompose()
    for tag in page(["rt", "rp"]):
        _put_in_brackets(tag)
    for tag in page(["sup", "sub"]):
        write = raised if tag.name == "sup" else lowered
        if not tag.decomposed and not tag.find(["sup", "sub", "table", "p"]):
            tag.replace_with(_with_spaces(tag.get_text(), write(tag.get_text(), _text_after(tag))))
    for tag in page(STRUCK_OUT):
        if tag.find_parent(STRUCK_OUT):
            tag.unwrap()
    for tag in page(STRUCK_OUT):
        _enclose(tag, STRUCK, STRUCK)
    for tag in page("q"):
        _enclose(tag, "“", "”")
    for foot in page("tfoot"):
        # Docling knows the head and the body of a table only; a foot is seen below both wherever it stands.
        foot.name = "tbody"
        if foot.parent:
            foot.parent.append(foot.extract())
    for cell in page(["td", "th"]):
        _set_items_apart(cell)
    for block in page("pre"):
        _make_plain(block)
    for text in _texts(page):
        if (kept := protected(text)) != text:
            text.replace_with(kept)
    page.smooth()
    _mark_glued(page.body or page)


def _make_plain(block: Tag) -> None:
    """Take what colours a block of code out of it: Docling would make a piece of code of each word."""
    lines = block("code")
    for tag in block(INLINE):
        if tag.name != "code" or len(lines) > 1:
            tag.unwrap()


def _put_in_brackets(tag: Tag) -> None:
    """Write the reading above a sign behind it, as 'rp' has it for a reader of text alone."""
    if tag.name == "rp":
        tag.decompose()
    elif tag.get_text(strip=True):
        tag.replace_with(f"({tag.get_text(strip=True)})")


def _text_after(tag: Tag) -> str:
    """Return what follows an element in its line."""
    following = tag.next_sibling
    is_in_line = isinstance(following, NavigableString) or (isinstance(following, Tag) and following.name in INLINE)
    return following.get_text() if following is not None and is_in_line else ""


def _with_spaces(before: str, after: str) -> str:
    """Return what replaces a piece of text, with the white space at its ends."""
    start, end = (" " if before[:1].isspace() else ""), (" " if before[-1:].isspace() else "")
    return f"{start}{after}{end}"


def _enclose(tag: Tag, left: str, right: str) -> None:
    """Put signs around an element's text; around each of its blocks there would be no telling what belongs together."""
    texts = [text for text in _texts(tag) if text.strip()]
    if texts and all(parent.name in INLINE for text in texts for parent in _between(text, tag)):
        first, last = texts[0], texts[-1]
        if first is last:
            first.replace_with(_with_spaces(first, f"{left}{first.strip()}{right}"))
        else:
            first.replace_with(_with_spaces(first[:1], left + first.lstrip()))
            last.replace_with(last.rstrip() + right)
        tag.unwrap()


def _between(text: PageElement, above: Tag) -> Iterable[Tag]:
    for parent in text.parents:
        if parent is above:
            return
        yield parent


def _texts(tag: Tag) -> list[NavigableString]:
    return [text for text in tag.find_all(string=True) if not isinstance(text, PreformattedString)]


def _set_items_apart(cell: Tag) -> None:
    """Write the lists of a table's cell as a line with a mark before each item: a row of a table is one line."""
    if cell.find_parent(["td", "th"]):
        # Docling writes the cells of a table within a cell without a space between them.
        cell.insert(0, " ")
    for items in reversed(cell(["ul", "ol"])):
        start = items.get("start", "1")
        first = int(str(start)) if str(start).isdigit() else 1
        for number, item in enumerate(items("li", recursive=False), first):
            item.insert(0, f" {f'{number}.' if items.name == 'ol' else BULLET} ")
            item.append(" ")
            item.unwrap()
        items.insert(0, " ")
        items.append(" ")
        items.unwrap()


def _mark_glued(body: Tag) -> None:
    """Mark each text that no space separates from the one before it in its line."""
    before: NavigableString | None = None
    for node in list(body.descendants):
        if isinstance(node, Tag):
            before = before if node.name in INLINE else None
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
            before = _marked(node, before)


def _marked(node: NavigableString, before: NavigableString | None) -> NavigableString | None:
    """Return a text once it is marked if it is glued to the one before it."""
    if not node or node.find_parent(["pre", "textarea", "script", "style"]):
        return None
    is_glued = before and not before[-1].isspace() and not node[0].isspace() and _line(node) is _line(before)
    if not is_glued:
        return node
    marked = NavigableString(GLUED + node)
    node.replace_with(marked)
    return marked


def _line(node: PageElement) -> Tag | None:
    """Return the element whose lines a text is part of."""
    return next((parent for parent in node.parents if parent.name not in INLINE), None)

"""The test of totals: is every word of a file that a person sees in its markdown, in order?

The words are taken from the file a second time, in the simplest way there is, so that a fault of Docling's or of ours
shows. What is not there is said on the file's line in the stage's result.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.convert.seen import (
    bare_words,
    file_pictures,
    markdown_text,
    page_pictures,
    page_text,
    slides_text,
    word_text,
)
from tuning_room.convert.sources import Source, source_text
from tuning_room.records import Chunk
from tuning_room.words import words

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument

SHOWN_WORDS = 8
# Words that one and the same text may have more in the markdown than in the file: a link's address, a cell's copies.
REACH = 40
# What Docling writes before a comment.
AUTHOR = re.compile(r"^\[author: [^\]]*\]: ")
PICTURES = "alternative texts of pictures"
LAYERS = {
    "furniture": "page furniture (menus, running heads and the like)",
    "notes": "notes and comments",
    "invisible": "what is hidden",
}


class Totals(NamedTuple):
    """Which words of a file are set apart on purpose, and which others are missing: a phrase for each kind."""

    left_out: list[str]
    missing: list[str]


def totals(source: Source, document: "DoclingDocument", markdown: str, chunks: Iterable[Chunk]) -> Totals:
    """Return what is to be said of the words of a file that are not in its markdown or its chunks."""
    layers = _layers(document, notes=source.format == "pptx")
    pictures = bare_words(_pictures(source))
    found = {**{LAYERS[layer]: words for layer, words in layers.items()}, PICTURES: pictures}
    left_out = [f"{name}: {_count(words)}" for name, words in found.items() if words]
    text = _seen(source)
    if text is None:
        return Totals(left_out, [])
    seen = bare_words(text)
    aside = [word for found in layers.values() for word in found]
    texts = "\n".join(text for chunk in chunks for text in (*chunk.headings, chunk.text))
    lost = _missing(seen, bare_words(markdown), aside)
    cut = _missing(seen, bare_words(texts), [*aside, *lost])
    places = {"markdown": lost, "chunks": cut}
    return Totals(left_out, [f"not in the {place}: {_count(found)}" for place, found in places.items() if found])


def _seen(source: Source) -> str | None:
    """Return what a person sees in a file, None for a format whose words are not counted."""
    if source.format in ("html", "md"):
        return (page_text if source.format == "html" else markdown_text)(source_text(source))
    if source.format in ("docx", "pptx"):
        return (word_text if source.format == "docx" else slides_text)(source.path)
    return None


def _pictures(source: Source) -> str:
    if source.format == "html":
        return page_pictures(source_text(source))
    return file_pictures(source.path) if source.format in ("docx", "pptx") else ""


def _layers(document: "DoclingDocument", *, notes: bool) -> dict[str, list[str]]:
    """Return the words that Docling sets apart from a document's text, by their layer."""
    found: dict[str, list[str]] = {layer: [] for layer in LAYERS}
    for item in document.texts:
        layer = item.content_layer.value
        # The title of a web page is no part of the page, and mostly its heading's once more.
        is_page_title = item.label.value == "title" and layer == "furniture"
        if not is_page_title and not (notes and layer == "notes"):
            found.get(layer, []).extend(words(AUTHOR.sub("", item.text), alone=""))
    return found


def _missing(seen: Sequence[str], written: Sequence[str], aside: Iterable[str]) -> list[str]:
    """Return the words of a sequence that another one lacks; those set aside count as there, once each."""
    rest = iter(written)
    if all(word in rest for word in seen):
        return []
    lacking, letters, lost = Counter(seen) - Counter([*written, *aside]), "".join(written), []
    # Of a word that stands in several places, the one that is lost is where its neighbours are not found either.
    for index in dict.fromkeys([*_unfound(seen, written), *range(len(seen))]):
        if lacking[seen[index]] > 0:
            lacking[seen[index]] -= 1
            # Where two words are written as one, or one as two, nothing is lost.
            if "".join(seen[max(0, index - 2) : index + 3]) not in letters:
                lost.append(index)
    return [seen[index] for index in sorted(lost)]


def _unfound(seen: Sequence[str], written: Sequence[str]) -> Iterator[int]:
    """Yield the places of the words that do not come soon in another sequence after the word before."""
    place = 0
    for index, word in enumerate(seen):
        try:
            place = written.index(word, place, place + REACH) + 1
        except ValueError:
            yield index


def _count(found: Sequence[str]) -> str:
    shown = " ".join(found[:SHOWN_WORDS]) + (" ..." if len(found) > SHOWN_WORDS else "")
    return f"{len(found)} word{'s' * (len(found) != 1)} ({shown})"

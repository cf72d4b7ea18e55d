"""The test of totals: is every word of a file that a person sees in its markdown, in order?

The words are taken from the file a second time, in the simplest way there is, so that a fault of Docling's or of ours
shows. What is not there is said on the file's line in the stage's result.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuning_room.convert.seen import bare_words, seen_words
from tuning_room.convert.sources import Source
from tuning_room.words import words

if TYPE_CHECKING:
    from docling_core.types.doc import DoclingDocument

SHOWN_WORDS = 8
LAYERS = {
    "furniture": "page furniture (menus, running heads and the like)",
    "notes": "notes and comments",
    "invisible": "what is hidden",
}


def notes_on(source: Source, document: "DoclingDocument", markdown: str) -> list[str]:
    """Return what is to be said of the words of a file that are not in its markdown, each in a sentence's part."""
    notes = [
        f"left out: {LAYERS[layer]}: {_count(found)}"
        for layer, found in _layers(document, notes=source.format == "pptx").items()
        if found
    ]
    seen = seen_words(source)
    return notes if seen is None else [*notes, *_missing(seen, bare_words(markdown), _aside(document))]


def _layers(document: "DoclingDocument", *, notes: bool) -> dict[str, list[str]]:
    """Return the words that Docling sets apart from a document's text, by their layer."""
    found: dict[str, list[str]] = {layer: [] for layer in LAYERS}
    for item in document.texts:
        layer = item.content_layer.value
        # The title of a web page is no part of the page, and mostly its heading's once more.
        is_page_title = item.label.value == "title" and layer == "furniture"
        if not is_page_title and not (notes and layer == "notes"):
            found.get(layer, []).extend(words(item.text, alone=""))
    return found


def _aside(document: "DoclingDocument") -> Counter[str]:
    return Counter(word for found in _layers(document, notes=False).values() for word in found)


def _missing(seen: Sequence[str], written: Sequence[str], aside: Counter[str]) -> list[str]:
    rest = iter(written)
    if all(word in rest for word in seen):
        return []
    left = Counter(written) + aside
    lost = []
    for word in seen:
        if left[word]:
            left[word] -= 1
        else:
            lost.append(word)
    return [f"not in the markdown: {_count(lost)}"] if lost else []


def _count(found: Sequence[str]) -> str:
    shown = " ".join(found[:SHOWN_WORDS]) + (" ..." if len(found) > SHOWN_WORDS else "")
    return f"{len(found)} word{'s' * (len(found) != 1)} ({shown})"

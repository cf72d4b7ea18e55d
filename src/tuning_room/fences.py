"""Fences: tags around a text by others, which the text cannot close, so that a prompt can tell it from instructions."""

import hashlib


def fenced(text: str, name: str) -> str:
    """Return a text between tags such as <passage-1a2b3c4d>; '' stays ''.

    The tag's id is taken from the text's digest, so that the same text always gets the same fence, and is one that the
    text does not contain: no text can hold its own closing tag.
    """
    if not text.strip():
        return ""
    tag = f"{name}-{_id(text)}"
    return f"<{tag}>\n{text.strip()}\n</{tag}>"


def _id(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    while digest[:8] in text:
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return digest[:8]

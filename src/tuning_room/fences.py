"""Fences: what others wrote is put between tags that it cannot close, so that a prompt can call it material."""

import hashlib


def fenced(text: str, name: str) -> str:
    """Return a text between tags such as <passage-1a2b3c4d>; '' stays ''.

    The tag's id follows from the text, so that the same text is always fenced the same way, and is none that stands
    in the text: no text can hold its own closing tag.
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

"""Addresses of servers that may hold a name and a password: what of them may be shown and stored."""

import re
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

SHORTEST = 4  # characters of a secret that is looked for in other people's words; shorter ones stand in any text
_USERINFO = re.compile(r"\A([a-z][a-z0-9+.-]*://(?!/))?.*@", re.IGNORECASE | re.DOTALL)


def public(address: str) -> str:
    """Return an address without the name and password in it, also where it is no valid one."""
    parts = split(address)
    if parts is None or ("@" in parts.netloc and "@" in address.partition(parts.netloc)[2]):
        return _USERINFO.sub(r"\1", address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else address


def split(address: str) -> SplitResult | None:
    """Return the parts of an address, None if it is not a valid one."""
    try:
        parts = urlsplit(address)
        # A slash in a password ends the host too early, and leaves the rest of the password in the path.
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme and (parts.netloc or "://" in address) else None


def secrets(address: str) -> list[str]:
    """Return the forms in which a server's words can quote an address's name and password, the longest first."""
    parts = split(address)
    if parts is None or "@" not in parts.netloc:
        return []
    written = parts.netloc.rpartition("@")[0]
    names = [part for part in (parts.username, parts.password) if part]
    plain = [written, unquote(written), *names, *map(unquote, names)]
    encoded = [b64encode(unquote(text).encode()).decode() for text in (written, f"{written}:")]
    return sorted({text for text in [*plain, *encoded] if len(text) >= SHORTEST}, key=len, reverse=True)


def hidden(words: str, secrets_in_them: Iterable[str]) -> str:
    """Return words in which asterisks stand for secrets."""
    for secret in filter(None, secrets_in_them):
        words = words.replace(secret, "***")
    return words

"""Write docs/third-party.md: every package in requirements.txt with its version and licence, and torch.

The licence is what the package's own metadata says, as installed: its expression, else its classifiers, else its
licence field. `--check` writes nothing and exits with 1 if the page is out of date.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "third-party.md"
LONGEST = 60  # characters: a longer licence field holds the licence itself, not its name
HEAD = """# Third-party packages
Written by `python scripts/write_licences.py` from the metadata of the packages that `make install` installs. Where a
package names several licences, its own files say which applies to what. Tuning Room itself is under Apache-2.0
([LICENSE](../LICENSE)); none of these packages is part of its wheel.

| package | version | licence |
| --- | --- | --- |
"""


def pinned() -> Iterator[tuple[str, str]]:
    """Yield name and version of each pinned package, torch from the Makefile among them."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "Makefile")]
    found = re.findall(r"^([\w.-]+)==(\S+)", texts[0], re.MULTILINE) + re.findall(r"\b(torch)==(\S+)", texts[1])
    yield from sorted(found, key=lambda one: one[0].lower())


def licence(package: PackageMetadata) -> str:
    """Return what a package's metadata says of its licence, in a line."""
    if expression := package.get("License-Expression"):
        return expression
    classifiers = [text.rpartition(" :: ")[2] for text in package.get_all("Classifier") or [] if "License ::" in text]
    named = [text for text in classifiers if text != "OSI Approved"]
    field = " ".join((package.get("License") or "").split())
    return ", ".join(named) or (field if 0 < len(field) <= LONGEST else "") or "see its licence file"


def page() -> str:
    """Return the page as it should be; PackageNotFoundError names a package that is not installed."""
    rows = (f"| {name} | {version} | {licence(metadata(name))} |\n" for name, version in pinned())
    return HEAD + "".join(rows)


def main() -> int:
    """Write the page, or say that it is out of date."""
    try:
        text = page()
    except PackageNotFoundError as error:
        print(f"{error.name} is not installed; run 'make install'", file=sys.stderr)
        return 2
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is out of date; run 'make docs'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

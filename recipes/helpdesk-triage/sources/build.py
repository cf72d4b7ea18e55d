"""Build the handbook (DOCX) of the recipe from handbook.yaml in this folder.

Usage: python build.py [--out FOLDER]

Two runs give the same bytes. The Markdown file beside it, sorting-examples.md, is written by hand.
"""

import argparse
import datetime
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docx
import yaml
from docx.shared import Inches

SOURCES = Path(__file__).resolve().parent
BUILD_DATE = datetime.datetime(2025, 1, 1, 12, 0, 0)  # fixed, so that two builds are equal
AUTHOR = "Harbour Row Logistics"


def add_table(document: Any, table: Mapping[str, Any]) -> None:
    """Add a ruled table with a bold first row."""
    grid = document.add_table(rows=0, cols=len(table["columns"]), style="Table Grid")
    grid.autofit = False
    for position, values in enumerate([table["columns"], *table["rows"]]):
        for cell, value, width in zip(grid.add_row().cells, values, table["widths"], strict=True):
            cell.width = Inches(width)
            cell.paragraphs[0].add_run(value).bold = position == 0
    document.add_paragraph()


def add_section(document: Any, section: Mapping[str, Any]) -> None:
    """Add a heading with its paragraphs, its bullet list and its table."""
    document.add_heading(section["heading"], level=1)
    for text in section.get("paragraphs", []):
        document.add_paragraph(text)
    for line in section.get("bullets", []):
        document.add_paragraph(line, style="List Bullet")
    if "table" in section:
        add_table(document, section["table"])


def build_handbook(source: Mapping[str, Any], target: Path) -> None:
    """Write the handbook."""
    document = docx.Document()
    document.add_heading(source["title"], level=0)
    document.add_paragraph(source["subtitle"], style="Subtitle")
    for section in source["sections"]:
        add_section(document, section)
    properties = document.core_properties
    properties.title, properties.author, properties.comments = source["title"], AUTHOR, ""
    properties.created = properties.modified = BUILD_DATE
    document.save(str(target))
    fix_dates(target)


def fix_dates(path: Path) -> None:
    """Rewrite an Office file (a ZIP archive) with one fixed date for all of its members."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name, BUILD_DATE.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the handbook of the recipe.")
    parser.add_argument("--out", type=Path, default=SOURCES.parent / "documents", help="folder for the document")
    arguments = parser.parse_args()
    source = yaml.safe_load((SOURCES / "handbook.yaml").read_text(encoding="utf-8"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    build_handbook(source, arguments.out / "helpdesk-handbook.docx")
    print("built helpdesk-handbook.docx")
    return 0


if __name__ == "__main__":
    sys.exit(main())

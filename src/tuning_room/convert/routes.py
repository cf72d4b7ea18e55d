"""Which way each file takes and why, without converting any: what `convert --explain` shows."""

from typing import Literal

from tuning_room.convert.config import ConvertConfig
from tuning_room.convert.installed import PdfLayout, pdf_layout, recognises
from tuning_room.convert.sources import TEXT, Source, find_sources, inspect, pages_without_text
from tuning_room.convert.store import ConversionStore
from tuning_room.errors import DocumentError
from tuning_room.workspace import StageResult, Workspace

Way = Literal["rules", "models", "ocr", "docling", "text", "refused", "skipped"]
NAMES = {
    "docx": "Word",
    "pptx": "PowerPoint",
    "xlsx": "Excel",
    "html": "HTML",
    "md": "Markdown",
    "csv": "CSV",
    "asciidoc": "AsciiDoc",
    "latex": "LaTeX",
}


class Route(StageResult):
    """Which way a file takes; `pages` counts where a format has pages, `recognised` are those without text.

    `converted` says that its conversion has been kept and will be reused.
    """

    name: str
    route: Way
    reason: str
    pages: int = 0
    recognised: list[int] = []
    converted: bool = False


def explain(config: ConvertConfig, workspace: Workspace) -> list[Route]:
    """Return the route of each file in the documents folder, sorted by name; raises what `run` does."""
    sources = find_sources(config.documents, images=config.ocr)
    layout = pdf_layout(config)
    store = ConversionStore(workspace.conversions, config, layout=layout)
    routes = [_route(source, config, layout, store) for source in sources.documents]
    routes += [Route(name=file.name, route="skipped", reason=file.reason) for file in sources.skipped]
    return sorted(routes, key=lambda route: route.name)


def _route(source: Source, config: ConvertConfig, layout: PdfLayout, store: ConversionStore) -> Route:
    try:
        inspect(source, config)
        converted = store.task(source).is_done
        if source.format == TEXT:
            reason = "plain text is taken as it stands"
            return Route(name=source.name, route="text", reason=reason, converted=converted)
        if source.format not in ("pdf", "image"):
            reason = f"Docling reads {NAMES[source.format]} itself, without a model"
            return Route(name=source.name, route="docling", reason=reason, converted=converted)
        pages, textless = pages_without_text(source.path) if source.format == "pdf" else (1, [1])
    except DocumentError as error:
        return Route(name=source.name, route="refused", reason=str(error))
    return Route(
        name=source.name,
        route="ocr" if len(textless) == pages and recognises(config) else layout,
        reason=_reason(source, config, layout, pages, textless),
        pages=pages,
        recognised=textless if recognises(config) else [],
        converted=converted,
    )


def _reason(source: Source, config: ConvertConfig, layout: str, pages: int, textless: list[int]) -> str:
    if source.format == "image":
        return f"an image: its text is recognised, its layout found by {layout}"
    how = {
        ("auto", "rules"): "Docling's layout models are not installed",
        ("auto", "models"): "Docling's layout models are installed",
    }.get((config.layout, layout), f"the recipe says 'layout: {layout}'")
    if not textless:
        return f"{how}; all pages have text"
    if len(textless) == pages:
        what = "no page has text: a scan" if pages > 1 else "the page has no text: a scan"
    else:
        what = f"{len(textless)} of {pages} pages have no text"
    does = "text is recognised there" if recognises(config) else "and text recognition is off or not installed"
    return f"{how}; {what}, {does}"

"""Docling's PDF pipelines: by rules, with engines that need no model, or by models; each with or without recognition.

By rules, only layout, table structure and the order of three columns or more are ours; parsing, assembly and the rest
of the reading order are Docling's. Import it late: Docling takes seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from docling.backend.image_backend import ImageDocumentBackend
from docling.datamodel.backend_options import HTMLBackendOptions
from docling.datamodel.base_models import (
    Cluster,
    InputFormat,
    LayoutPrediction,
    Page,
    Table,
    TableStructurePrediction,
)
from docling.datamodel.document import ConversionResult
from docling.datamodel.pipeline_options import (
    BaseLayoutOptions,
    BaseTableStructureOptions,
    HeadingHierarchyOptions,
    LayoutPostprocessorOptions,
    ThreadedPdfPipelineOptions,
)
from docling.document_converter import (
    CsvFormatOption,
    DocumentConverter,
    ExcelFormatOption,
    HTMLFormatOption,
    ImageFormatOption,
    MarkdownFormatOption,
    PdfFormatOption,
    PowerpointFormatOption,
    WordFormatOption,
)
from docling.models.base_layout_model import BaseLayoutModel
from docling.models.base_table_model import BaseTableStructureModel
from docling.models.postprocessing.reading_order_rb import PageElement, ReadingOrderPredictor, SeparatorElement
from docling.models.stages.form_field.form_field_model import PdfFormFieldModel
from docling.models.stages.heading_hierarchy.heading_hierarchy_model import HeadingHierarchyModel
from docling.models.stages.layout.layout_postprocessing_model import LayoutPostprocessingModel
from docling.models.stages.page_assemble.page_assemble_model import PageAssembleModel, PageAssembleOptions
from docling.models.stages.page_preprocessing.page_preprocessing_model import (
    PagePreprocessingModel,
    PagePreprocessingOptions,
)
from docling.models.stages.reading_order.readingorder_model import ReadingOrderModel, ReadingOrderOptions
from docling.pipeline.standard_pdf_pipeline import StandardPdfPipeline
from docling_core.types.doc import (
    BoundingBox,
    CoordOrigin,
    DocItem,
    DocItemLabel,
    DoclingDocument,
    ListItem,
    NodeItem,
    SectionHeaderItem,
    TableCell,
    TextItem,
)
from docling_core.types.doc.page import TextCell

from tuning_room.convert import typography
from tuning_room.convert.aligned_tables import Grid, cell_lines
from tuning_room.convert.boxes import Box, Word
from tuning_room.convert.columns import column_order, gutters
from tuning_room.convert.markdown_files import MarkdownBackend
from tuning_room.convert.outline import Bookmark, PageHeading, levels
from tuning_room.convert.page_layout import BULLET, BlockKind, PageRules
from tuning_room.convert.page_text import PageStep, ReadablePages, TextlessPages
from tuning_room.convert.sheet_backends import CsvCells, ShownSheets
from tuning_room.convert.slides import SlidesBackend
from tuning_room.convert.tables import MAX_THICKNESS, page_tables
from tuning_room.convert.typography import Typography
from tuning_room.convert.web_pages import WebPageBackend
from tuning_room.convert.word_files import WordBackend

LABELS: dict[BlockKind, DocItemLabel] = {
    "heading": DocItemLabel.SECTION_HEADER,
    "list_item": DocItemLabel.LIST_ITEM,
    "text": DocItemLabel.TEXT,
    "footnote": DocItemLabel.FOOTNOTE,
    "header": DocItemLabel.PAGE_HEADER,
    "footer": DocItemLabel.PAGE_FOOTER,
}
SENTENCE_END = (".", "!", "?", ":", ";")


class RuleLayoutOptions(BaseLayoutOptions):
    """Options of the layout engine; it has none of its own."""

    kind: ClassVar[str] = "tuning_room_rules"


class RuleTableOptions(BaseTableStructureOptions):
    """Options of the table engine; it has none of its own."""

    kind: ClassVar[str] = "tuning_room_rules"


class RuleLayout(BaseLayoutModel):
    """Finds headings, list items, paragraphs, running heads and tables by how a PDF is set."""

    # The clusters come with their cells and do not overlap: there is nothing to correct.
    requires_layout_postprocessing = False

    def __init__(self, *, options: RuleLayoutOptions) -> None:
        self.options = options
        self.typography = Typography()
        # Where the columns of each page are separated, once it is laid out; none for one or two columns.
        self.cuts: dict[int, list[float]] = {}

    @classmethod
    def get_options_type(cls) -> type[BaseLayoutOptions]:
        """Return the type of this engine's options."""
        return RuleLayoutOptions

    def predict_layout(self, conv_res: ConversionResult, pages: Sequence[Page]) -> Sequence[LayoutPrediction]:
        """Return the clusters of each page."""
        return [LayoutPrediction(clusters=self._clusters(page)) for page in pages]

    def _clusters(self, page: Page) -> list[Cluster]:
        tables = [grid.box for grid in page_grids(page)]
        cells = [part for cell in page.cells for part in _outside(cell, tables, page)]
        words = [(_box(cell.to_bounding_box()), cell.text) for cell in cells]
        cuts = self.cuts[page.page_no] = gutters([box for box, text in words if text.strip()])
        rules = PageRules(self.typography, page.page_no, page.size.height if page.size else 0.0, cuts)
        blocks = rules.blocks(words)
        clusters = [
            Cluster(
                id=number,
                label=LABELS[block.kind],
                bbox=_bounding_box(block.box),
                cells=[cells[index] for index in block.cells],
            )
            for number, block in enumerate(blocks)
        ]
        return clusters + [
            Cluster(id=number, label=DocItemLabel.TABLE, bbox=_bounding_box(box))
            for number, box in enumerate(tables, start=len(blocks))
        ]


class RuleTables(BaseTableStructureModel):
    """Builds the rows and columns of the tables that the layout engine has found."""

    enabled = True

    def __init__(self, *, options: RuleTableOptions) -> None:
        self.options = options

    @classmethod
    def get_options_type(cls) -> type[BaseTableStructureOptions]:
        """Return the type of this engine's options."""
        return RuleTableOptions

    def predict_tables(self, conv_res: ConversionResult, pages: Sequence[Page]) -> Sequence[TableStructurePrediction]:
        """Return the cells of each page's tables."""
        predictions = [TableStructurePrediction(table_map=self._tables(page)) for page in pages]
        for page in pages:
            if page.parsed_page:
                # Only the tables needed these, and they take several megabytes per page.
                page.parsed_page.word_cells = []
                page.parsed_page.char_cells = []
        return predictions

    def _tables(self, page: Page) -> dict[int, Table]:
        clusters = page.predictions.layout.clusters if page.predictions.layout else []
        tables = [cluster for cluster in clusters if cluster.label == DocItemLabel.TABLE]
        return {cluster.id: _table(page, cluster, grid) for cluster, grid in zip(tables, page_grids(page), strict=True)}


class ColumnOrder(ReadingOrderPredictor):
    """Docling's reading order, but pages in three columns or more are read column by column."""

    def __init__(self, cuts: Mapping[int, Sequence[float]]) -> None:
        super().__init__()
        self._cuts = cuts

    def _predict_page(
        self, page_elements: list[PageElement], *, vertical_separators: list[SeparatorElement] | None = None
    ) -> list[PageElement]:
        cuts = self._cuts.get(page_elements[0].page_no, []) if page_elements else []
        if not cuts:
            return list(super()._predict_page(page_elements, vertical_separators=vertical_separators))
        boxes = [_box(element.to_top_left_origin(element.page_size.height)) for element in page_elements]
        return [page_elements[index] for index in column_order(boxes, cuts)]

    def predict_to_footnotes(self, sorted_elements: list[PageElement]) -> dict[int, list[int]]:
        """Return none: footnotes are the page's, even where a table stands above them."""
        return {}


class RulePdfPipeline(StandardPdfPipeline):
    """Docling's standard PDF pipeline with the engines of this module."""

    preprocessing_model: PageStep

    def _init_models(self) -> None:
        options = self.pipeline_options
        self.keep_images = self.keep_backend = False
        self.preprocessing_model = ReadablePages(
            PagePreprocessingModel(options=PagePreprocessingOptions(images_scale=None))
        )
        # In place of Docling's text recognition: ours comes earlier, when the cells of a page are read.
        self.ocr_model = _unchanged
        self.layout_model = self.rules = RuleLayout(options=RuleLayoutOptions())
        self.layout_postprocessing_model = LayoutPostprocessingModel(
            options=LayoutPostprocessorOptions(run_postprocessor=False)
        )
        self.form_field_model = PdfFormFieldModel(enabled=False)
        self.table_model = RuleTables(options=RuleTableOptions())
        self.assemble_model = PageAssembleModel(options=PageAssembleOptions())
        self.reading_order_model = ReadingOrderModel(options=ReadingOrderOptions(use_page_separators=False))
        self.reading_order_model.ro_model = ColumnOrder(self.rules.cuts)
        self.heading_hierarchy_model = HeadingHierarchyModel(options=options.heading_hierarchy_options)

    def _build_document(self, conv_res: ConversionResult) -> ConversionResult:
        self.rules.cuts.clear()
        self.rules.typography = typography.read_typography(Path(conv_res.input.file))
        return super()._build_document(conv_res)

    def _assemble_document(self, conv_res: ConversionResult) -> ConversionResult:
        conv_res = super()._assemble_document(conv_res)
        join_split_items(conv_res.document)
        set_levels(conv_res.document, self.rules.typography.outline)
        return conv_res


class RecognisingRules(RulePdfPipeline):
    """The pipeline by rules, which also reads scans and images."""

    def _init_models(self) -> None:
        super()._init_models()
        threads = self.pipeline_options.accelerator_options.num_threads
        self.preprocessing_model = TextlessPages(
            self.preprocessing_model, threads=threads, recognised=self._set_typography
        )

    def _build_document(self, conv_res: ConversionResult) -> ConversionResult:
        if conv_res.input.format != InputFormat.IMAGE:
            return super()._build_document(conv_res)
        self.rules.typography = Typography()
        # Skips the rules' own step, which reads the type of a PDF file.
        return StandardPdfPipeline._build_document(self, conv_res)

    def _set_typography(self, page: Page) -> None:
        """Tell the rules how a recognised page is set; the first one of a document without text sets the scale."""
        known = self.rules.typography
        runs = typography.recognised_runs([(_box(cell.to_bounding_box()), cell.text) for cell in page.cells])
        if not any(known.runs.values()):
            known = self.rules.typography = typography.describe({page.page_no: typography.Page(page.size.height, runs)})
        # A scan has pixels, not points: its body text is taken to be the size of the document's.
        scale = known.body_size / typography.body_size(runs) if runs else 1.0
        known.runs[page.page_no] = [run._replace(size=round(run.size * scale, 1)) for run in runs]


class RecognisingModels(StandardPdfPipeline):
    """Docling's own pipeline with its models, which also reads scans and images."""

    preprocessing_model: PageStep

    def _init_models(self) -> None:
        super()._init_models()
        threads = self.pipeline_options.accelerator_options.num_threads
        self.preprocessing_model = TextlessPages(ReadablePages(self.preprocessing_model), threads=threads)


def docling_converter(
    formats: Iterable[str], *, by_models: bool, recognises: bool, artifacts: Path | None
) -> DocumentConverter:
    """Return Docling, set up for formats in its own words; `artifacts` is the folder of its models if not the cache."""
    pipelines = {
        (False, False): RulePdfPipeline,
        (False, True): RecognisingRules,
        (True, False): StandardPdfPipeline,
        (True, True): RecognisingModels,
    }
    options = ThreadedPdfPipelineOptions(
        do_ocr=False,
        generate_parsed_pages=True,
        # By type size only: 'Problem 3.4' is not the fourth part of 'Problem 3'.
        heading_hierarchy_options=HeadingHierarchyOptions(enabled=True, use_bookmarks=False, use_numbering=False),
    )
    if by_models:
        options.artifacts_path = artifacts
    else:
        options.batch_polling_interval_seconds = 0.01
        options.layout_options, options.table_structure_options = RuleLayoutOptions(), RuleTableOptions()
    way = {"pipeline_cls": pipelines[by_models, recognises], "pipeline_options": options}
    ways = {
        InputFormat.PDF: PdfFormatOption(**way),
        InputFormat.IMAGE: ImageFormatOption(**way, backend=ImageDocumentBackend),
        InputFormat.HTML: HTMLFormatOption(
            backend=WebPageBackend, backend_options=HTMLBackendOptions(infer_furniture=False)
        ),
        InputFormat.MD: MarkdownFormatOption(backend=MarkdownBackend),
        InputFormat.DOCX: WordFormatOption(backend=WordBackend),
        InputFormat.PPTX: PowerpointFormatOption(backend=SlidesBackend),
        InputFormat.XLSX: ExcelFormatOption(backend=ShownSheets),
        InputFormat.CSV: CsvFormatOption(backend=CsvCells),
    }
    return DocumentConverter(allowed_formats=[InputFormat(value) for value in formats], format_options=ways)


def _unchanged(conv_res: ConversionResult, page_batch: Iterable[Page]) -> Iterable[Page]:
    yield from page_batch


def join_split_items(document: DoclingDocument) -> None:
    """Rejoin list items that a page break cuts in two; Docling does so for paragraphs only."""
    items = [item for item, _ in document.iterate_items() if isinstance(item, DocItem)]
    rests: list[NodeItem] = []
    for item, rest in pairwise(items):
        if isinstance(item, ListItem) and isinstance(rest, TextItem) and _is_rest(item, rest):
            item.text, item.orig = f"{item.text} {rest.text}", f"{item.orig} {rest.orig}"
            item.prov.extend(rest.prov)
            rests.append(rest)
    if rests:
        document.delete_items(node_items=rests)


def _is_rest(item: ListItem, rest: TextItem) -> bool:
    is_plain = rest.label == DocItemLabel.TEXT and not BULLET.match(rest.text)
    if not is_plain or not item.prov or not rest.prov or item.text.endswith(SENTENCE_END):
        return False
    return bool(rest.prov[0].page_no == item.prov[-1].page_no + 1)


def set_levels(document: DoclingDocument, bookmarks: Sequence[Bookmark]) -> None:
    """Give the headings the levels of the PDF's own outline, where it has one."""
    items = [item for item in document.texts if isinstance(item, SectionHeaderItem) and item.prov]
    headings = [PageHeading(item.prov[0].page_no, item.text, item.level) for item in items]
    if bookmarks:
        for item, level in zip(items, levels(headings, bookmarks), strict=True):
            item.level = level


def page_grids(page: Page) -> list[Grid]:
    """Return a page's tables, from top to bottom."""
    backend = page._backend
    if backend is None:
        return []
    lines = [*(backend.get_shape_lines() or []), *(backend.get_thin_shape_boxes(max_thickness=MAX_THICKNESS) or [])]
    return page_tables([_box(line) for line in lines], _words(page))


def _outside(cell: TextCell, tables: Sequence[Box], page: Page) -> list[TextCell]:
    """Return what of a line stands in no table: the line, none of it, or its words where a table's edge cuts it."""
    box = _box(cell.to_bounding_box())
    if not any(table.meets(box) for table in tables):
        return [cell]
    known = page.parsed_page.word_cells if page.parsed_page else []
    words = [word for word in known if box.holds(_box(word.to_bounding_box()))] or [cell]
    rest = [word for word in words if not any(table.holds(_box(word.to_bounding_box())) for table in tables)]
    return [cell] if len(rest) == len(words) else rest


def _words(page: Page) -> list[Word]:
    cells = page.parsed_page.word_cells if page.parsed_page else []
    return [(_box(cell.to_bounding_box()), cell.text) for cell in cells if cell.text.strip()]


def _table(page: Page, cluster: Cluster, grid: Grid) -> Table:
    words = _words(page)
    cells = [
        TableCell(
            text=" ".join(cell_lines(word for word in words if cell.box.holds(word[0]))),
            bbox=_bounding_box(cell.box),
            row_span=cell.row_end - cell.row,
            col_span=cell.column_end - cell.column,
            start_row_offset_idx=cell.row,
            end_row_offset_idx=cell.row_end,
            start_col_offset_idx=cell.column,
            end_col_offset_idx=cell.column_end,
            column_header=cell.row == 0,
        )
        for cell in grid.cells
    ]
    return Table(
        id=cluster.id,
        label=cluster.label,
        page_no=page.page_no,
        cluster=cluster,
        otsl_seq=[],
        num_rows=len(grid.rows) - 1,
        num_cols=len(grid.columns) - 1,
        table_cells=cells,
    )


def _box(box: BoundingBox) -> Box:
    return Box(box.l, box.t, box.r, box.b)


def _bounding_box(box: Box) -> BoundingBox:
    return BoundingBox(l=box.left, t=box.top, r=box.right, b=box.bottom, coord_origin=CoordOrigin.TOPLEFT)

"""Docling's PDF pipeline with engines that need no model: layout and tables by rules.

Only layout and table structure are ours; parsing, assembly and reading order are Docling's. Import it late:
Docling takes seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from docling.datamodel.base_models import (
    Cluster,
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
from docling.models.base_layout_model import BaseLayoutModel
from docling.models.base_table_model import BaseTableStructureModel
from docling.models.postprocessing.reading_order_rb import PageElement, ReadingOrderPredictor
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
    DocItemLabel,
    TableCell,
)

from tuning_room.convert.aligned_tables import aligned_grid, level_frames
from tuning_room.convert.assembled import join_split_items, set_levels
from tuning_room.convert.columns import column_order, gutters
from tuning_room.convert.rule_layout import Kind, PageRules
from tuning_room.convert.rule_tables import MAX_RULES, MAX_THICKNESS, Box, Cell, Grid, rows_of_words, ruled_grids
from tuning_room.convert.second_reading import ReadablePages
from tuning_room.convert.typography import Typography, read_typography
from tuning_room.convert.unruled_tables import unruled_grids

LABELS: dict[Kind, DocItemLabel] = {
    "heading": DocItemLabel.SECTION_HEADER,
    "list_item": DocItemLabel.LIST_ITEM,
    "text": DocItemLabel.TEXT,
    "footnote": DocItemLabel.FOOTNOTE,
    "header": DocItemLabel.PAGE_HEADER,
    "footer": DocItemLabel.PAGE_FOOTER,
}
# Of a ruled table's cells; the boxes of a drawing are mostly empty.
LEAST_FILLED = 1 / 3


class RuleLayoutOptions(BaseLayoutOptions):
    """Options of the layout engine; it has none of its own."""

    kind: ClassVar[str] = "tuning_room_rules"


class RuleTableOptions(BaseTableStructureOptions):
    """Options of the table engine; it has none of its own."""

    kind: ClassVar[str] = "tuning_room_rules"


class RuleLayout(BaseLayoutModel):
    """Finds headings, list items, paragraphs, running heads and ruled tables by how a PDF is set."""

    # The clusters come with their cells and do not overlap: there is nothing to mend.
    requires_layout_postprocessing = False

    def __init__(self, *, options: RuleLayoutOptions) -> None:
        self.options = options
        self.typography = Typography()
        # Where the columns of each page part, once it is laid out; none for one or two columns.
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
        cells = [cell for cell in page.cells if not any(table.holds(_box(cell.to_bounding_box())) for table in tables)]
        cuts = self.cuts[page.page_no] = gutters([_box(cell.to_bounding_box()) for cell in cells if cell.text.strip()])
        rules = PageRules(self.typography, page.page_no, page.size.height if page.size else 0.0, cuts)
        blocks = rules.blocks([(_box(cell.to_bounding_box()), cell.text) for cell in cells])
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
    """Builds rows and columns from ruling lines."""

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
            _forget_words(page)
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

    def _predict_page(self, page_elements: list[PageElement], *args: Any, **kwargs: Any) -> list[PageElement]:
        cuts = self._cuts.get(page_elements[0].page_no, []) if page_elements else []
        if not cuts:
            return list(super()._predict_page(page_elements, *args, **kwargs))
        boxes = [_box(element.to_top_left_origin(element.page_size.height)) for element in page_elements]
        return [page_elements[index] for index in column_order(boxes, cuts)]

    def predict_to_footnotes(self, sorted_elements: list[PageElement]) -> dict[int, list[int]]:
        """Return none: the footnotes are the page's, also where a table stands above them."""
        return {}


class _Unchanged:
    """Stands where Docling's pipeline has text recognition."""

    def __call__(self, conv_res: ConversionResult, page_batch: Iterable[Page]) -> Iterable[Page]:
        yield from page_batch


class RulePdfPipeline(StandardPdfPipeline):
    """Docling's standard PDF pipeline with the engines of this module."""

    def _init_models(self) -> None:
        options = self.pipeline_options
        self.keep_images = self.keep_backend = False
        self.preprocessing_model = ReadablePages(
            PagePreprocessingModel(options=PagePreprocessingOptions(images_scale=None))
        )
        self.ocr_model = _Unchanged()
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
        self.rules.typography = read_typography(Path(conv_res.input.file))
        return super()._build_document(conv_res)

    def _assemble_document(self, conv_res: ConversionResult) -> ConversionResult:
        conv_res = super()._assemble_document(conv_res)
        join_split_items(conv_res.document)
        set_levels(conv_res.document, self.rules.typography.outline)
        return conv_res


def rule_options() -> ThreadedPdfPipelineOptions:
    """Return the pipeline's options: no text recognition, heading levels by the size of their type."""
    return ThreadedPdfPipelineOptions(
        do_ocr=False,
        generate_parsed_pages=True,
        batch_polling_interval_seconds=0.01,
        layout_options=RuleLayoutOptions(),
        table_structure_options=RuleTableOptions(),
        heading_hierarchy_options=heading_options(),
    )


def heading_options() -> HeadingHierarchyOptions:
    """Return how heading levels are found: by type size, since 'Problem 3.4' is not the fourth part of 'Problem 3'."""
    return HeadingHierarchyOptions(enabled=True, use_bookmarks=False, use_numbering=False)


def page_grids(page: Page) -> list[Grid]:
    """Return a page's tables, from top to bottom: ruled, ruled in part, and not at all."""
    backend = page._backend
    if backend is None:
        return []
    lines = [*(backend.get_shape_lines() or []), *(backend.get_thin_shape_boxes(max_thickness=MAX_THICKNESS) or [])]
    rules, words = [_box(line) for line in lines], _words(page)
    ruled = [_within_frame(grid, words) for grid in ruled_grids(rules) if has_columns(grid, words)]
    if len(rules) > MAX_RULES:
        return sorted(ruled, key=_top)
    apart = [frame for frame in level_frames(rules) if not any(frame.meets(grid.box) for grid in ruled)]
    aligned = [grid for frame in apart if (grid := aligned_grid(frame, words))]
    known = [grid.box for grid in (*ruled, *aligned)]
    unruled = unruled_grids(word for word in words if not any(box.holds(word[0]) for box in known))
    return sorted([*ruled, *aligned, *unruled], key=_top)


def _top(grid: Grid) -> float:
    return grid.box.top


def has_columns(grid: Grid, words: Sequence[tuple[Box, str]]) -> bool:
    """Say whether a grid has text in enough of its cells, and more than one row: others are drawings."""
    filled = sum(any(cell.box.holds(box) for box, _ in words) for cell in grid.cells)
    return filled > 1 and len(grid.rows) > 2 and filled >= LEAST_FILLED * len(grid.cells)


def _within_frame(grid: Grid, words: Sequence[tuple[Box, str]]) -> Grid:
    """Return a table in a frame with level rules only, by the columns that its words stand in."""
    return (aligned_grid(grid.box, words) if len(grid.columns) == 2 else None) or grid


def _words(page: Page) -> list[tuple[Box, str]]:
    cells = page.parsed_page.word_cells if page.parsed_page else []
    return [(_box(cell.to_bounding_box()), cell.text) for cell in cells if cell.text.strip()]


def _forget_words(page: Page) -> None:
    """Drop what only tables are made of: kept for every page, it is several megabytes a page."""
    if page.parsed_page:
        page.parsed_page.word_cells = []
        page.parsed_page.char_cells = []


def _table(page: Page, cluster: Cluster, grid: Grid) -> Table:
    words = _words(page)
    return Table(
        id=cluster.id,
        label=cluster.label,
        page_no=page.page_no,
        cluster=cluster,
        otsl_seq=[],
        num_rows=len(grid.rows) - 1,
        num_cols=len(grid.columns) - 1,
        table_cells=[_table_cell(cell, words) for cell in grid.cells],
    )


def _table_cell(cell: Cell, words: Sequence[tuple[Box, str]]) -> TableCell:
    return TableCell(
        text=" ".join(rows_of_words(word for word in words if cell.box.holds(word[0]))),
        bbox=_bounding_box(cell.box),
        row_span=cell.row_end - cell.row,
        col_span=cell.column_end - cell.column,
        start_row_offset_idx=cell.row,
        end_row_offset_idx=cell.row_end,
        start_col_offset_idx=cell.column,
        end_col_offset_idx=cell.column_end,
        column_header=cell.row == 0,
    )


def _box(box: BoundingBox) -> Box:
    return Box(box.l, box.t, box.r, box.b)


def _bounding_box(box: Box) -> BoundingBox:
    return BoundingBox(l=box.left, t=box.top, r=box.right, b=box.bottom, coord_origin=CoordOrigin.TOPLEFT)

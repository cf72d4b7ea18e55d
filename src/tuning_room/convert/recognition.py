"""Text recognition for pages that have no text: RapidOCR by way of Docling, before the layout of a page is read.

Its models come with its package, so that nothing is fetched. Import this module late: Docling takes seconds.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from docling.datamodel.accelerator_options import AcceleratorOptions
from docling.datamodel.base_models import InputFormat, Page
from docling.datamodel.document import ConversionResult
from docling.datamodel.pipeline_options import OcrMode, RapidOcrOptions
from docling.models.stages.ocr.rapid_ocr_model import RapidOcrModel
from docling.pipeline.standard_pdf_pipeline import StandardPdfPipeline
from docling_core.types.doc.page import TextCell

from tuning_room.convert import typography
from tuning_room.convert.rule_pipeline import RulePdfPipeline
from tuning_room.convert.second_reading import ReadablePages
from tuning_room.convert.typography import Run, Typography

# 216 dpi for paper; larger pages, such as photographs without a resolution, are read at fewer dots.
SCALE = 3.0
LONGEST_SIDE = 2600.0
# The box of a recognised line is that much higher than its type is large, and varies by so much.
BOX_OVER_SIZE = 1.2
SAME_SIZE = 0.2

Recognised = Callable[[Page], None]


class TextlessPages:
    """Reads the cells of pages as Docling does; pages without text get those that are recognised on their image."""

    def __init__(self, preprocess: Any, *, threads: int, recognised: Recognised = lambda page: None) -> None:
        self._preprocess = preprocess
        self._threads = threads
        self._recognised = recognised
        self._ocr: RapidOcrModel | None = None

    def __call__(self, conv_res: ConversionResult, page_batch: Iterable[Page]) -> Iterable[Page]:
        """Yield the pages with their cells."""
        for page in self._preprocess(conv_res, page_batch):
            if not any(cell.text.strip() for cell in page.cells) and _shows_something(page):
                self._recognise(conv_res, page)
            yield page

    def _recognise(self, conv_res: ConversionResult, page: Page) -> None:
        # Made for the first such page: it takes a second, and most documents have none.
        self._ocr = self._ocr or recogniser(self._threads)
        self._ocr.scale = min(SCALE, LONGEST_SIDE / max(page.size.width, page.size.height))
        list(self._ocr(conv_res, [page]))
        self._recognised(page)


def recogniser(threads: int) -> RapidOcrModel:
    """Return Docling's RapidOCR over whole pages, with the models in its package."""
    options = RapidOcrOptions(mode=OcrMode.FULL_PAGE)
    accelerator = AcceleratorOptions(device="cpu", num_threads=threads)
    return RapidOcrModel(enabled=True, artifacts_path=None, options=options, accelerator_options=accelerator)


class RecognisingRules(RulePdfPipeline):
    """The pipeline by rules, which also reads scans and images."""

    preprocessing_model: Any

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
        # Past the rules' own step, which reads the type of a PDF file.
        return StandardPdfPipeline._build_document(self, conv_res)

    def _set_typography(self, page: Page) -> None:
        """Tell the rules how a recognised page is set; the first one of a document without text sets the scale."""
        known = self.rules.typography
        runs = line_runs(page.cells)
        if not known.runs or not any(known.runs.values()):
            known = self.rules.typography = typography.describe({page.page_no: typography.Page(page.size.height, runs)})
        scale = known.body_size / _body_size(runs) if runs else 1.0
        known.runs[page.page_no] = [run._replace(size=round(run.size * scale, 1)) for run in runs]


class RecognisingModels(StandardPdfPipeline):
    """Docling's own pipeline with its models, which also reads scans and images."""

    preprocessing_model: Any

    def _init_models(self) -> None:
        super()._init_models()
        threads = self.pipeline_options.accelerator_options.num_threads
        self.preprocessing_model = TextlessPages(ReadablePages(self.preprocessing_model), threads=threads)


def line_runs(cells: Sequence[TextCell]) -> list[Run]:
    """Return recognised lines with the size of their type: near the page's usual size it is that size."""
    boxes = [cell.to_bounding_box() for cell in cells]
    sizes = sorted(box.height / BOX_OVER_SIZE for box in boxes)
    usual = round(sizes[len(sizes) // 2], 1) if sizes else 0.0
    return [
        Run(box.l, box.t, box.r, box.b, box.b, _settled(box.height / BOX_OVER_SIZE, usual), False, cell.text)
        for box, cell in zip(boxes, cells, strict=True)
    ]


def _settled(size: float, usual: float) -> float:
    return usual if abs(size - usual) <= SAME_SIZE * usual else round(size, 1)


def _body_size(runs: Sequence[Run]) -> float:
    return typography.describe({1: typography.Page(0.0, list(runs))}).body_size


def _shows_something(page: Page) -> bool:
    """Say whether there is anything on a page but its paper."""
    image = page.get_image(scale=1.0)
    low, high = image.convert("L").getextrema() if image else (0, 0)
    return bool(high - low > 16)

"""Text by PDFium where Docling's parser has lost it. The lost text is made up: no font of reportlab's is so broken."""

from pathlib import Path

import convert_samples as samples
import pytest
from reportlab.pdfbase.pdfmetrics import stringWidth

from tuning_room.convert.boxes import Box
from tuning_room.convert.page_text import is_better, joined, lines_of, page_lines

TEXT = "A multi-state model is used to model a process where subjects transition."
DINGBATS = "❆ ♠✉❧a116✐✲a115a116❛a116❡ ♠♦❞❡❧ ✐a115 ✉a115❡❞ a116♦ ♠♦❞❡❧ ❛ ♣a114♦❝❡a115a115 ✇❤❡a114❡ a115✉❜❥❡❝a116a115"


@pytest.mark.parametrize(
    ("text", "other", "better"),
    [
        (TEXT, DINGBATS, True),
        (DINGBATS, TEXT, False),
        (TEXT, TEXT.replace(" ", ""), False),
        (TEXT, TEXT + " It goes on.", False),
        (TEXT, "", False),
        ("Too short", "❆❆❆❆", False),
    ],
)
def test_which_text_is_better(text: str, other: str, better: bool) -> None:
    assert is_better(text, other) is better


def test_words_make_lines_up_to_a_wide_gap() -> None:
    words = [(Box(0, 0, 20, 10), "one"), (Box(24, 0, 40, 10), "two"), (Box(80, 0, 99, 10), "far")]
    lines = list(lines_of([*words, (Box(0, 12, 20, 22), "below")]))
    assert [joined(line)[1] for line in lines] == ["one two", "far", "below"]
    assert joined(lines[0])[0] == Box(0, 0, 40, 10)


def test_a_page_is_read_again_only_if_it_was_lost(tmp_path: Path) -> None:
    samples.write_handbook(tmp_path / "a.pdf", chapters=1)
    lines = page_lines(tmp_path / "a.pdf", 1, instead_of=DINGBATS * 40)
    texts = [joined(line)[1] for line in lines]
    assert "Problem 1.1: Splitting a bill" in texts
    assert "•" in "".join(texts)
    box = next(joined(line)[0] for line in lines if joined(line)[1] == "Tutor Handbook")
    assert (box.left, box.right) == pytest.approx((72, 72 + stringWidth("Tutor Handbook", "Helvetica", 8)), abs=1)
    assert 30 < box.top < box.bottom < 44
    assert page_lines(tmp_path / "a.pdf", 1, instead_of=" ".join(texts)) == []

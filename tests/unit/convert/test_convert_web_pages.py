"""What is a web page's furniture, and how its signs are written. The pages are made here; Docling is not asked."""

import pytest
from bs4 import BeautifulSoup

from tuning_room.convert.seen import markdown_text, page_text
from tuning_room.convert.signs import lowered, raised, struck, unglued
from tuning_room.convert.web_pages import put_in_order, set_furniture_apart

FURNITURE = {
    "menu": "<nav><a href='/'>X</a></nav>",
    "menu by role": "<div role='navigation'>X</div>",
    "banner": "<div class='cookie-banner'>X</div>",
    "consent by id": "<section id='gdpr-notice'>X</section>",
    "dialog": "<dialog open>X</dialog>",
    "skip link": "<a href='#main'>Skip to X</a>",
    "head of a page with main": "<header>X</header><main><p>Y</p></main>",
    "list of links before a heading": "<ul><li><a href='/a'>X</a></li><li><a href='/b'>X</a></li></ul><h1>Y</h1>",
}
TEXT = {
    "lead": "<p>X</p><h1>Y</h1>",
    "list before a heading": "<ul><li><a href='/a'>X</a>, closed</li><li>X</li></ul><h1>Y</h1>",
    "list of links in main": "<main><ul><li><a href='/a'>X</a></li><li><a href='/b'>X</a></li></ul><h1>Y</h1></main>",
    "list of links below a heading": "<h1>Y</h1><ul><li><a href='/a'>X</a></li><li><a href='/b'>X</a></li></ul>",
    "head of an article": "<main><article><header>X</header></article></main>",
    "head of a page without main": "<header><p>X</p></header><p>Y</p>",
    "recipe for biscuits": "<div class='cookie-recipe'>X</div>",
    "form of consent": "<section id='consent'>X</section>",
    "aside": "<aside>X</aside>",
    "jump in a text": "<p><a href='#a'>See X</a></p>",
}


@pytest.mark.parametrize("name", [*FURNITURE, *TEXT])
def test_furniture_is_told_from_text(name: str) -> None:
    page = BeautifulSoup(f"<body>{({**FURNITURE, **TEXT})[name]}</body>", "html.parser")
    set_furniture_apart(page)
    is_apart = [bool(text.find_parent("footer")) for text in page.find_all(string=lambda text: "X" in text)]
    assert is_apart and set(is_apart) == {name in FURNITURE}


@pytest.mark.parametrize(
    ("html", "written"),
    [
        ("10<sup>3</sup> is", "10^3 is"),
        ("10<sup> 3 </sup>is", "10 ^3 is"),
        ("H<sub>2</sub>O", "H_2O"),
        ("x<sup>n</sup>y", "x^(n)y"),
        ("x<sup>n+1</sup>", "x^(n+1)"),
        ("the 2<sup>nd</sup>", "the 2nd"),
        ("Acme<sup>®</sup>", "Acme®"),
        ("so<sup>[4]</sup>.", "so[4]."),
        ("<del>5 <b>euros</b></del> 4", "~~5 euros~~ 4"),
        ("<s><del>old</del></s>", "~~old~~"),
        ("<q>so</q> he said", "“so” he said"),
        ("漢<ruby>字<rp>(</rp><rt>ji</rt><rp>)</rp></ruby>", "漢字(ji)"),
        ("un<b>believ</b>able", "unbelievable"),
        ("Rules<a href='#rules'>\u00b6</a>", "Rules"),
        ("می\u200cروم", "می\u200cروم"),
    ],
)
def test_signs_are_written(html: str, written: str) -> None:
    page = BeautifulSoup(f"<body><p>{html}</p></body>", "html.parser")
    put_in_order(page)
    assert unglued(page.get_text()) == written


def test_a_block_of_code_loses_its_colours_and_keeps_its_lines() -> None:
    page = BeautifulSoup("<pre><code><span>a</span> =\n  <b>1</b></code></pre>", "html.parser")
    put_in_order(page)
    assert str(page) == "<pre><code>a =\n  1</code></pre>"


def test_signs_alone() -> None:
    assert [raised("-3"), raised("2", "y"), raised("2", "3"), raised(" ")] == ["^-3", "^2", "^(2)", ""]
    assert [lowered("max"), lowered("i,j"), lowered("n", "x")] == ["_max", "_i,j", "_(n)"]
    assert [struck(" old "), struck("  "), unglued("un **\ufdd0believ**  \ufdd0able")] == [
        " ~~old~~ ", "  ", "un**believ**able",
    ]  # fmt: skip


def test_what_a_person_sees_of_markdown() -> None:
    text = "A <Item> &lt; `<b>` **b**old [link](http://x.y) <b>c</b>\n\n<!-- no -->\n\n"
    text += "[r]: http://no\n\n```py\n<i> x\n```\n"
    assert markdown_text(text).split() == [
        "A", "<Item>", "<", "<b>", "**b**old", "[link]", "c", "<i>", "x",
    ]  # fmt: skip


def test_what_a_person_sees_of_a_page() -> None:
    html = (
        "<title>no</title><p>a<b>b</b></p><p hidden>no</p>c<script>no</script><p style='display: none'>no</p><td>d</td>"
    )
    assert page_text(html).split() == ["ab", "c", "d"]

"""What comes through of each format: formulas, code, sheets, notes. Docling is real, the documents are made here."""

from pathlib import Path

import convert_samples as samples
import pytest

from tuning_room.convert import ConvertConfig, run
from tuning_room.convert.reader import docling_input
from tuning_room.convert.repairs import with_formulas
from tuning_room.convert.sources import Source
from tuning_room.records import Chunk, read_jsonl
from tuning_room.workspace import Workspace

LATEX = r"""\documentclass{article}
\title{On Balance}
\begin{document}
\maketitle
\section{Linear equations}
Let $x$ satisfy $3x + 5 = 20$.
\begin{equation}
x = \frac{20 - 5}{3}
\end{equation}
\subsection{Steps}
\begin{itemize}
\item Subtract \textbf{five}.
\end{itemize}
\begin{tabular}{|l|r|}
Topic & Share \\
Algebra & 40\% \\
\end{tabular}
% a comment of the author
\end{document}
"""
MARKDOWN = """# Code

```python
print(1)
```

```yaml
a: 1
```

~~~bash
ls -l
~~~

```
plain
```

- in a list

  ```json
  {"a": 1}
  ```

$$x^2$$
"""
SCRIPTS = """<html><head><title>T</title><style>.hidden1{}</style><script>var hidden2 = 1;</script></head>
<body onload="hidden3()"><h1>Title</h1><p>Visible.</p><script type="module">hidden4()</script>
<noscript>hidden5</noscript><template>hidden6</template><svg><style>hidden7</style><script>hidden8</script></svg>
<table><tr><td>cell<script>hidden9</script></td><td>b</td></tr></table>
<!-- hidden0 --></body></html>"""
MATHML = """<html><body><p>So <math alttext="\\frac{a}{b}"><mfrac><mi>a</mi><mi>b</mi></mfrac></math> holds, and</p>
<math display="block"><semantics><mrow><mi>x</mi></mrow><annotation encoding="application/x-tex">x^{2}</annotation>
</semantics></math></body></html>"""
ASCIIDOC = """= Notes

== First

Some text.

* One

[source,python]
----
print(1)
----

|===
|Topic |Share

|Algebra |40%
|===
"""
OMML = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def write_book(path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Rates"
    book.active.append(["Topic", "Share"])
    book.active.append(["Algebra", 0.4])
    book.create_sheet("Days").append(["Monday", "Tuesday"])
    hidden = book.create_sheet("Draft")
    hidden.append(["not to be seen"])
    hidden.sheet_state = "hidden"
    book.save(path)


def write_formula(path: Path) -> None:
    from docx import Document
    from docx.oxml import parse_xml

    document = Document()
    paragraph = document.add_paragraph("Let ")
    fraction = "<m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f>"
    paragraph._p.append(parse_xml(f'<m:oMath xmlns:m="{OMML}">{fraction}</m:oMath>'))
    document.save(str(path))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("formats")
    documents = folder / "documents"
    documents.mkdir()
    texts = {
        "paper.tex": LATEX,
        "code.md": MARKDOWN,
        "mixed.md": MARKDOWN + "\n<script>hidden1()</script>\n\n<style>.hidden2{}</style>\n\nLast words.\n",
        "scripts.html": SCRIPTS,
        "formulas.html": MATHML,
        "notes.adoc": ASCIIDOC,
        "rates.csv": 'topic;share\n"al;gebra";40%\n"two\nlines";3\n',
    }
    for name, text in texts.items():
        (documents / name).write_text(text)
    (documents / "marked.tex").write_text(LATEX.replace("five", "fünf"), encoding="utf-16")
    write_book(documents / "book.xlsx")
    write_formula(documents / "formula.docx")
    samples.write_slides(documents / "slides.pptx")
    workspace = Workspace(folder / "run")
    run(ConvertConfig(documents=documents, workers=1), workspace)
    return workspace


def markdown(converted: Workspace, name: str) -> str:
    return (converted.documents / f"{name}.md").read_text()


def test_latex(converted: Workspace) -> None:
    text = markdown(converted, "paper.tex")
    for line in ("# On Balance", "## Linear equations", "### Steps", "- Subtract five.", "| Algebra | 40% |"):
        assert line in text.splitlines()
    assert "$3x + 5 = 20$" in text
    assert r"x = \frac{20 - 5}{3}" in text
    assert "comment" not in text
    assert "documentclass" not in text


def test_latex_with_a_byte_order_mark(converted: Workspace) -> None:
    assert markdown(converted, "marked.tex") == markdown(converted, "paper.tex").replace("five", "fünf")


@pytest.mark.parametrize("name", ["code.md", "mixed.md"])
def test_fences_keep_their_language(name: str, converted: Workspace) -> None:
    text = markdown(converted, name)
    for block in ("```python\nprint(1)\n```", "```yaml\na: 1\n```", "```bash\nls -l\n```", "```\nplain\n```"):
        assert block in text
    assert "x^2" in text


@pytest.mark.parametrize(("name", "words"), [("code.md", "```yaml\na: 1\n```"), ("book.xlsx", "| Algebra | 0.4 |")])
def test_chunks_have_their_place_in_the_repaired_markdown(name: str, words: str, converted: Workspace) -> None:
    chunks = [chunk for chunk in read_jsonl(converted.chunks, Chunk) if chunk.document == name]
    places = [markdown(converted, name)[chunk.begin : chunk.end] for chunk in chunks]
    assert words in "".join(places)
    assert not [place for place in places if place != place.strip()]


def test_scripts_and_styles_are_left_out(converted: Workspace) -> None:
    everything = "".join(path.read_text() for path in converted.documents.glob("*"))
    everything += converted.chunks.read_text()
    assert "hidden" not in everything
    assert "Visible." in markdown(converted, "scripts.html")
    assert "Last words." in markdown(converted, "mixed.md")


def test_formulas_of_a_web_page(converted: Workspace) -> None:
    text = markdown(converted, "formulas.html")
    assert r"So $\frac{a}{b}$ holds" in text
    assert "$$x^{2}$$" in text


def test_a_page_with_formulas_keeps_its_letters(tmp_path: Path) -> None:
    page = '<meta charset="latin-1"><p>Größe <math alttext="a &lt; b"><mi>a</mi></math> später</p>'
    (tmp_path / "a.html").write_text(page, encoding="latin-1")
    repaired = docling_input(Source(tmp_path / "a.html", "a.html", "html"))
    assert not isinstance(repaired, Path)
    assert "<p>Größe $a &lt; b$ später</p>" in repaired.stream.read().decode("utf-8-sig")


def test_a_page_without_formulas_is_left_alone() -> None:
    assert with_formulas("<p>1 &lt; 2</p>") is None
    assert with_formulas("<math><mi>a</mi></math>") is None


def test_formula_of_a_word_file(converted: Workspace) -> None:
    assert r"Let  $\frac{a}{b}$" in markdown(converted, "formula.docx")


def test_sheets_are_headings(converted: Workspace) -> None:
    text = markdown(converted, "book.xlsx")
    assert text.startswith("## Rates\n\n| Topic | Share |")
    assert "## Days" in text
    assert "seen" not in text
    chunks = [chunk for chunk in read_jsonl(converted.chunks, Chunk) if chunk.document == "book.xlsx"]
    assert [chunk.headings for chunk in chunks] == [["Rates"], ["Days"]]


def test_asciidoc(converted: Workspace) -> None:
    text = markdown(converted, "notes.adoc")
    assert "## First" in text
    assert "```python\nprint(1)\n```" in text
    assert "| Algebra | 40% |" in text


def test_csv_with_another_separator(converted: Workspace) -> None:
    assert "| al;gebra | 40% |\n| two lines | 3 |" in markdown(converted, "rates.csv")


def test_speaker_notes(converted: Workspace) -> None:
    assert "A reply with three questions is an exam." in markdown(converted, "slides.pptx")

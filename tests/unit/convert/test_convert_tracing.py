"""Every chunk's place in the markdown file. The documents and their conversion are real; the stage is run."""

from itertools import pairwise
from pathlib import Path

import convert_samples as samples
import pytest
from docling_core.types.doc import DocItemLabel, DoclingDocument
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.convert import ConvertConfig, run
from tuning_room.convert.tracing import letters_of, located
from tuning_room.records import Chunk, read_jsonl
from tuning_room.workspace import Workspace


def chunk(text: str, *headings: str) -> Chunk:
    return Chunk(id="a#1", document="a", headings=list(headings), text=text)


def places(markdown: str, *chunks: Chunk) -> list[str]:
    """Return what stands in the markdown at the chunks' places."""
    content = markdown.encode()
    return [content[found.begin : found.end].decode() for found in located(chunks, markdown)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a run of the stage over a document of each kind that the samples have."""
    folder = tmp_path_factory.mktemp("documents")
    samples.write_handbook(folder / "handbook.pdf", chapters=2)
    samples.write_slides(folder / "slides.pptx")
    samples.write_word(folder / "word.docx")
    (folder / "page.html").write_text(samples.HTML, encoding="utf-8")
    (folder / "euro.md").write_text("# Größe\n\nZwölf Äpfel: 6 €.\n\n# Ende\n\n- *Schluß*, [hier](x.html).\n", "utf-8")
    workspace = Workspace(tmp_path_factory.mktemp("run"))
    run(ConvertConfig(documents=folder, layout="rules"), workspace)
    return workspace


def test_each_chunk_stands_at_its_place_in_the_file(workspace: Workspace) -> None:
    chunks = list(read_jsonl(workspace.chunks, Chunk))
    assert len({found.document for found in chunks}) == 5
    for found in chunks:
        content = (workspace.documents / f"{found.document}.md").read_bytes()[found.begin : found.end].decode()
        assert letters_of(content.replace("(x.html)", "").replace("&#124;", "|")) == letters_of(found.text)


def test_places_are_in_order_and_do_not_overlap(workspace: Workspace) -> None:
    chunks = list(read_jsonl(workspace.chunks, Chunk))
    for one, other in pairwise(chunks):
        if one.document == other.document:
            assert one.begin < one.end < other.begin < other.end


def test_place_is_counted_in_bytes() -> None:
    (found,) = located([chunk("6 €.", "Größe")], "# Größe\n\n6 €.\n")
    assert (found.begin, found.end) == (11, 17)


def test_heading_with_the_same_words_is_not_the_place() -> None:
    assert places("## Ask\n\nAsk\n", chunk("Ask", "Ask")) == ["Ask"]


def test_same_text_in_two_sections_has_two_places() -> None:
    one, other = located([chunk("Ask.", "A"), chunk("Ask.", "B")], "# A\n\nAsk.\n\n# B\n\nAsk.\n")
    assert (one.begin, other.begin) == (5, 16)


def test_picture_within_a_chunk_is_passed_over() -> None:
    assert places("One.\n\n<!-- image -->\n\nTwo.", chunk("One.\n\nTwo.")) == ["One.\n\n<!-- image -->\n\nTwo."]


def test_line_that_only_the_markdown_has() -> None:
    assert places("Run:\n\n```sh\nls\n```\n\nDone.", chunk("Run:\n\nls\n\nDone.")) == [
        "Run:\n\n```sh\nls\n```\n\nDone."
    ]


def test_chunk_that_is_not_there_keeps_no_place() -> None:
    (found,) = located([chunk("Other.")], "Text.")
    assert (found.begin, found.end) == (None, None)


words = st.text("abcÄ€.,* ", min_size=1, max_size=12).filter(letters_of)


@given(st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=1, max_size=6))
def test_chunks_of_any_document_are_found(sections: list[tuple[str, list[str]]]) -> None:
    from tuning_room.convert.chunks import document_chunks

    document = DoclingDocument(name="sample")
    for title, paragraphs in sections:
        document.add_heading(title, level=1)
        for paragraph in paragraphs:
            document.add_text(label=DocItemLabel.TEXT, text=paragraph)
    markdown = document.export_to_markdown(escape_html=False, escape_underscores=False)
    chunks = document_chunks(document, "a", 2000)
    found = places(markdown, *chunks)
    assert [letters_of(text) for text in found] == [letters_of(chunk.text) for chunk in chunks]


def test_recipe_documents_are_traced_to_the_letter(tmp_path: Path) -> None:
    documents = Path(__file__).parents[3] / "recipes/socratic-tutor/documents"
    workspace = Workspace(tmp_path)
    run(ConvertConfig(documents=documents, layout="rules"), workspace)
    chunks = list(read_jsonl(workspace.chunks, Chunk))
    files = {found.document: (workspace.documents / f"{found.document}.md").read_bytes() for found in chunks}
    same = [letters_of(files[c.document][c.begin : c.end].decode()) == letters_of(c.text) for c in chunks]
    assert all(same) and len(same) > 100

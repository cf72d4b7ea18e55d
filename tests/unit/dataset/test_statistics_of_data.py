"""The numbers of a dataset. Real: NLTK's BLEU as the reference, the embedded model's tokenizer, the stage's files."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room import dataset
from tuning_room.dataset.card import bars, funnel_svg
from tuning_room.dataset.config import DatasetConfig, DatasetResult
from tuning_room.dataset.diversity import distinct, self_bleu, tokens
from tuning_room.dataset.statistics import SAMPLE, funnel, statistics
from tuning_room.models import load_tokenizer
from tuning_room.records import Candidate, Dialogue, Item, Message, write_jsonl
from tuning_room.workspace import Workspace

WORDS = st.lists(st.sampled_from("a b c d".split()), min_size=1, max_size=12)


@given(texts=st.lists(WORDS, min_size=2, max_size=6))
def test_self_bleu_is_that_of_the_library(texts: list[list[str]]) -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smoothing = SmoothingFunction().method1
    each = [
        sentence_bleu([*texts[:place], *texts[place + 1 :]], words, smoothing_function=smoothing)
        for place, words in enumerate(texts)
    ]
    assert self_bleu(texts) == pytest.approx(sum(each) / len(each))


def test_self_bleu_of_the_same_is_one_and_of_nothing_in_common_is_zero() -> None:
    assert self_bleu([tokens("What is 3 x 4, then?")] * 5) == pytest.approx(1)
    assert self_bleu([["a", "b"], ["c", "d"]]) == 0
    assert self_bleu([["a"]]) == self_bleu([]) == 0


@given(texts=st.lists(WORDS, max_size=8), size=st.integers(1, 3))
def test_distinct_is_a_share(texts: list[list[str]], size: int) -> None:
    runs = [tuple(words[i : i + size]) for words in texts for i in range(len(words) - size + 1)]
    assert distinct(texts, size) == (len(set(runs)) / len(runs) if runs else 0)


def dialogue(name: str, *said: str, **changes: Any) -> Dialogue:
    roles = ["system", *["user", "assistant"] * len(said)]
    messages = [Message(role=role, content=text) for role, text in zip(roles, ("Short.", *said), strict=False)]  # type: ignore[arg-type]
    return Dialogue.model_validate(
        {"id": name, "source": f"seeds:{name}", "group": name, "messages": messages, **changes}
    )


def config(**changes: Any) -> DatasetConfig:
    return DatasetConfig.model_validate({"recipe": "r", "short_prompt": "Short.", "minimum": 1, **changes})


def result(accepted: int, **rejected: int) -> DatasetResult:
    train = accepted - accepted // 4
    return DatasetResult(
        accepted=accepted, train=train, valid=accepted - train, rejected=rejected, topics={}, situations={}
    )


def test_rows_are_counted(tmp_path: Path) -> None:
    rows = [
        dialogue("a", "Hi", "Why?", topic="sums"),
        dialogue("b", "Hi", "Why so?", "x", "And then?", topic="sums", source="family:f"),
    ]
    write_jsonl(tmp_path / "train.jsonl", rows)
    found = statistics([tmp_path / "train.jsonl"], config(), result(2))
    assert (found.rows, found.replies) == (2, {1: 1, 2: 1})
    assert found.counts == {"source": {"seeds": 1, "family": 1}, "topic": {"sums": 2}, "situation": {"": 2}}
    assert (found.diversity.rows, found.diversity.replies) == (2, 3)
    assert (found.tokens, found.tokens_missing) == (None, "no model is named")


def test_traits_are_counted_where_rows_have_them(tmp_path: Path) -> None:
    row = {**dialogue("a", "Hi", "Why?").model_dump(), "traits": {"persona": "novice"}}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert statistics([tmp_path / "train.jsonl"], config(), result(1)).counts["persona"] == {"novice": 1}


def test_tokens_are_those_of_training(tmp_path: Path, embedded_model: Path) -> None:
    rows = [dialogue(f"{n}", "What is " + "3 + " * n + "4?", "Why <|im_end|> so?") for n in range(1, 30)]
    write_jsonl(tmp_path / "train.jsonl", rows)
    found = statistics([tmp_path / "train.jsonl"], config(model="embedded:smollm2-135m"), result(29)).tokens
    tokenizer: Any = load_tokenizer(embedded_model)
    texts = [tokenizer.apply_chat_template([m.as_dict() for m in row.messages], tokenize=False) for row in rows]
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert found is not None
    assert (found.rows, found.most, found.median) == (29, max(lengths), sorted(lengths)[14])


def test_a_model_that_is_not_there_costs_the_tokens_only(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue("a", "Hi", "Why?")])
    found = statistics([tmp_path / "train.jsonl"], config(model="./nowhere"), result(1))
    assert found.tokens is None
    assert "no such folder" in found.tokens_missing


def test_no_rows_are_no_crash(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    found = statistics([tmp_path / "train.jsonl"], config(model="./nowhere"), result(0))
    assert (found.rows, found.tokens, found.diversity.self_bleu_4) == (0, None, 0)


def test_of_many_rows_a_sample_is_measured(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [dialogue(f"{n}", "Hi", f"Why {n}?") for n in range(SAMPLE + 50)])
    found = statistics([tmp_path / "train.jsonl"], config(), result(SAMPLE + 50))
    assert (found.rows, found.diversity.rows) == (SAMPLE + 50, SAMPLE)


REASONS = st.sampled_from("error reviewed length on_topic held_out duplicate near_duplicate balance".split())


@given(accepted=st.integers(0, 99), rejected=st.dictionaries(REASONS, st.integers(1, 50)))
def test_the_funnel_loses_no_row(accepted: int, rejected: dict[str, int]) -> None:
    steps = funnel(result(accepted, **rejected), ["length", "on_topic"])
    split = [step.left for step in steps if step.name.endswith(" rows")]
    way = [step for step in steps if not step.name.endswith(" rows")]
    assert way[0].left == accepted + sum(rejected.values())
    assert way[-1].left == sum(split) == accepted
    for before, after in pairwise(way):
        assert before.left - sum(after.rejected.values()) == after.left
    assert {reason: count for step in steps for reason, count in step.rejected.items()} == rejected


def test_the_figure_is_to_scale_and_escapes_names() -> None:
    steps = funnel(result(60, **{"<b>": 20, "held_out": 20}), ["<b>"])
    drawn = {bar.name: bar for bar in bars(steps)}
    assert drawn["checks"].length == pytest.approx(0.8 * drawn["generated"].length)
    assert drawn["checks"].before == drawn["generated"].length
    assert drawn["decontamination"].lost == "-20 held_out"
    svg = funnel_svg(steps)
    assert "<b>" not in svg and "&lt;b&gt;" in svg
    assert svg.count("<g ") == len(steps)


def test_the_card_is_one_that_the_hub_reads(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    workspace = Workspace(tmp_path / "run")
    rows = [
        Candidate(
            id=f"r{n}",
            source="test",
            group=f"g{n}",
            topic="sums | more" if n % 2 else "",
            messages=[
                Message(role="user", content=f"What is {n} + {n * n}?"),
                Message(role="assistant", content="Why?"),
            ],
        )
        for n in range(40)
    ]
    write_jsonl(workspace.candidates, rows)
    write_jsonl(tmp_path / "items.jsonl", [Item(id="i", prompt="x", gold="1")])
    checks = {"asks_question": {}, "language": {"code": "de"}}
    dataset.run(
        config(items=[tmp_path / "items.jsonl"], checks=checks, valid_fraction=0.2, near_duplicate=1), workspace
    )
    card = DatasetCard.load(workspace.dataset_card)
    assert (card.data.language, card.data.size_categories) == (["de"], ["n<1K"])
    (configured,) = card.data.to_dict()["configs"]
    for split in configured["data_files"]:
        assert (workspace.dataset_card.parent / split["path"]).stat().st_size
    assert r"| sums \| more | 20 |" in card.text
    assert all(path.is_file() for path in dataset.outputs(workspace))


def test_load_dataset_finds_the_splits(tmp_path: Path) -> None:
    from datasets import load_dataset

    test_the_card_is_one_that_the_hub_reads(tmp_path)
    loaded: Any = load_dataset(str(tmp_path / "run" / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert {name: rows.num_rows for name, rows in loaded.items()}.keys() == {"train", "validation"}
    assert sum(rows.num_rows for rows in loaded.values()) == 40

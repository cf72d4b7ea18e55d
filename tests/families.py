"""Small random models of many families: two layers each, built from the library's own configurations.

The weights are large, so that a wrong mask, window, cap or position changes the tokens. Windows are shorter than the
prompts, and caps are low enough to bite.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

WINDOW = 12  # tokens; every prompt of the tests is longer
MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
MAMBA = {
    "mamba_d_state": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}
WINDOWED = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
LATENT = {
    "head_dim": None,
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}


class Family(NamedTuple):
    """A kind of model: the library's name for it, its own settings, and how it is computed and trained.

    `fast` and `packs` say whether by our decoder and in packed rows. Without any of `bites`, other tokens come.
    """

    kind: str
    own: Mapping[str, Any] = {}
    fast: bool = True
    packs: bool = True
    bites: Mapping[str, Any] = {}


FAMILIES = {
    "Llama": Family("llama"),
    "Qwen2": Family("qwen2"),
    "Qwen3": Family("qwen3"),
    "Qwen3-MoE": Family("qwen3_moe", {"num_experts": 4, **MIXTURE}),
    "Mistral": Family("mistral", {"sliding_window": None}),
    "Mistral, window": Family("mistral", {"sliding_window": WINDOW}, False, False, {"sliding_window": None}),
    "Gemma 2": Family(
        "gemma2",
        {
            **WINDOWED,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
            "query_pre_attn_scalar": 8,
            "tie_word_embeddings": False,
        },
        False,
        False,
        {"sliding_window": 4096, "attn_logit_softcapping": None},
    ),
    "Gemma 3": Family(
        "gemma3_text",
        {**WINDOWED, "query_pre_attn_scalar": 8, "tie_word_embeddings": False},
        False,
        False,
        {"sliding_window": 4096},
    ),
    "Phi-3": Family("phi3"),
    "Granite": Family(
        "granite",
        {"logits_scaling": 4.0, "attention_multiplier": 0.2, "residual_multiplier": 0.5, "embedding_multiplier": 3.0},
    ),
    "OLMo 2": Family("olmo2"),
    "gpt-oss": Family(
        "gpt_oss",
        {**WINDOWED, "num_local_experts": 4, "num_experts_per_tok": 2},
        False,
        False,
        {"sliding_window": 4096},
    ),
    "SmolLM3": Family("smollm3", {"no_rope_layers": [1, 0]}),
    "Falcon-H1": Family("falcon_h1", {**MAMBA, "mamba_d_ssm": 64}, fast=False, packs=False),
    "Bamba": Family("bamba", {**MAMBA, "attn_layer_indices": [1]}, fast=False, packs=False),
    "LFM2": Family("lfm2", {"layer_types": ["conv", "full_attention"]}, fast=False, packs=False),
    "Granite 4": Family(
        "granitemoehybrid",
        {
            **MAMBA,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 48,
            "layer_types": ["mamba", "attention"],
        },
        fast=False,
        packs=False,
    ),
    "Mamba": Family("mamba", {"state_size": 8}, fast=False, packs=False),
    "DeepSeek-V3": Family("deepseek_v3", {**LATENT, **MIXTURE}, fast=False, packs=True),
    "GPT-2": Family(
        "gpt2", {"n_positions": 512, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}, fast=False, packs=True
    ),
}


def write_family(name: str, folder: Path) -> Path:
    """Write a family's random model and its tokenizer of bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    family = FAMILIES[name]
    tokenizer = write_byte_tokenizer(folder)
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **family.own,
    }
    if family.kind == "gpt2":  # it knows neither, and takes any name as its own
        settings = {k: v for k, v in settings.items() if k not in ("num_key_value_heads", "head_dim")}
        settings["n_inner"] = settings.pop("intermediate_size")
    config = AutoConfig.for_model(family.kind, **{k: v for k, v in settings.items() if k != "head_dim" or v})
    torch.manual_seed(5)
    model: Any = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return folder


def write_byte_tokenizer(folder: Path) -> Any:
    """Write and return a tokenizer of bytes and turn marks, with the embedded model's chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from tuning_room.models.embedded import CHAT_TEMPLATE

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    marks = ("<|im_start|>", "<|im_end|>", "<|pad|>")
    core.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks])
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=marks[0], eos_token=marks[1], pad_token=marks[2], chat_template=CHAT_TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    return tokenizer

"""Recording probes at the end of a training: what base and adapter say, by which every server proves the adapter.

By a plain forward pass of transformers and PEFT in fp32, one text at a time: no code of an engine, whose own values
are held to these later.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tuning_room.models.probes import ProbeRecord, RecordedProbe
from tuning_room.records import Dialogue, Message, read_jsonl
from tuning_room.rendering import prompt_ids, render_dialogue
from tuning_room.train.config import NEUTRAL_PROMPTS
from tuning_room.train.lessons import read_prompts

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

EACH = 4  # probes of each of the three kinds
TOKENS = 8  # forced tokens of a probe
LONGEST = 256  # tokens of a prompt that is preferred: a proof costs as much as its prompts
DECIMALS = 5  # more would be the noise of the order of additions


class ProbePrompt(NamedTuple):
    """A prompt in tokens, and the first tokens of the reply that a row has to it; none for a neutral prompt."""

    prompt: list[int]
    reply: list[int]


def record_probes(model: "PeftModel", tokenizer: "PreTrainedTokenizerBase", rows: Path, digest: str) -> ProbeRecord:
    """Return the probes of a trained adapter, which is in fp32 on its base model, drawn from its rows by their ids."""
    import torch

    model.eval()
    drawn = _from_rows(tokenizer, rows)
    neutral = _neutral(tokenizer)
    with torch.no_grad():
        probes = [_probe(model, "row", asked, asked.reply) for asked in drawn[:EACH]]
        for kind, asked in [("base", one) for one in drawn[-EACH:]] + [("neutral", one) for one in neutral]:
            probes.append(_probe(model, kind, asked, _base_reply(model, tokenizer, asked.prompt)))  # type: ignore[arg-type]
    return ProbeRecord(adapter_digest=digest, probes=probes)


def _from_rows(tokenizer: "PreTrainedTokenizerBase", path: Path) -> list[ProbePrompt]:
    """Return some rows up to their first reply, the same ones for the same rows; the shortest if all are long."""
    found = []
    for dialogue in sorted(read_jsonl(path, Dialogue), key=lambda row: hashlib.sha256(row.id.encode()).digest()):
        ids, learned = render_dialogue(tokenizer, dialogue.messages)
        begin = learned.index(True)
        end = next((n for n in range(begin, len(ids)) if not learned[n]), len(ids))
        found.append(ProbePrompt(ids[:begin], ids[begin : min(end, begin + TOKENS)]))
        if len([one for one in found if len(one.prompt) <= LONGEST]) == 2 * EACH:
            break
    return sorted(found, key=lambda one: len(one.prompt) > LONGEST and len(one.prompt))[: 2 * EACH]


def _neutral(tokenizer: "PreTrainedTokenizerBase") -> list[ProbePrompt]:
    prompts = read_prompts(NEUTRAL_PROMPTS)
    chosen = prompts[:: len(prompts) // EACH][:EACH]
    return [ProbePrompt(prompt_ids(tokenizer, [Message(role="user", content=text)]), []) for text in chosen]


def _base_reply(model: "PeftModel", tokenizer: "PreTrainedTokenizerBase", prompt: list[int]) -> list[int]:
    """Return the first tokens that the base model itself says, each the likeliest one."""
    import torch

    ids = torch.tensor([prompt], device=model.device)
    with model.disable_adapter():
        drawn: Tensor = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=TOKENS,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    return [int(token) for token in drawn[0, len(prompt) :]]


def _probe(
    model: "PeftModel", kind: Literal["row", "base", "neutral"], asked: ProbePrompt, answer: list[int]
) -> RecordedProbe:
    with model.disable_adapter():
        base = token_scores(model, asked.prompt, answer)
    return RecordedProbe(
        kind=kind, prompt=asked.prompt, answer=answer, base=base, adapter=token_scores(model, asked.prompt, answer)
    )


def token_scores(model: "PeftModel", prompt: list[int], answer: Sequence[int]) -> list[float]:
    """Return the log-probability of each token of an answer after a prompt, in nats."""
    import torch

    ids = torch.tensor([[*prompt, *answer]], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    chosen = logits.log_softmax(-1).gather(-1, ids[0, len(prompt) :, None])
    return [round(value, DECIMALS) for value in chosen[:, 0].tolist()]

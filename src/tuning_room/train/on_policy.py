"""The last phase: the model in training answers for itself, and the prompted base model judges every token.

Reverse KL on the student's own replies (on-policy context distillation, arXiv 2602.12275), with a bound on their length
and a clip a token, without which it is known to be unstable.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tuning_room.records import Message
from tuning_room.rendering import Rendered, prompt_ids, with_system
from tuning_room.train.targets import BASE, Targets

TOP = 64  # tokens of the teacher's prediction: the student may like what the teacher has far down


class Said(NamedTuple):
    """The student's replies as rows, and the teacher's predictions at their tokens."""

    rows: list[Rendered]
    tops: list[Any]


class OnPolicy:
    """Draws replies of a model in training to the dialogues of rows, cut before their last reply."""

    def __init__(self, targets: Targets, dialogues: Sequence[Sequence[Message]], prompt: str, max_tokens: int) -> None:
        self.targets, self.prompt, self.max_tokens = targets, prompt, max_tokens
        self.asked = [turns[: _last_reply(turns)] for turns in dialogues]

    def said(self, model: Any, places: Sequence[int], seed: int) -> Said:
        """Let the model answer some dialogues, drawn at temperature 1 under a seed, and ask the teacher about it."""
        tokenizer = self.targets.tokenizer
        short = [prompt_ids(tokenizer, self.asked[place]) for place in places]
        replies = self._drawn(model, short, seed)
        turns = [[turn for turn in self.asked[place] if turn.role != "system"] for place in places]
        full = [prompt_ids(tokenizer, with_system(self.prompt, said)) for said in turns]
        rows, under = (
            [_row(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)] for prompts in (short, full)
        )
        return Said(rows, self.targets.engine.top_tokens(BASE, under, TOP))

    def _drawn(self, model: Any, prompts: list[list[int]], seed: int) -> list[list[int]]:
        import torch

        tokenizer, width = self.targets.tokenizer, max(map(len, prompts))
        gaps = [width - len(ids) for ids in prompts]
        ids = torch.tensor([[tokenizer.pad_token_id] * gap + own for gap, own in zip(gaps, prompts, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
        model.eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            drawn = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self.max_tokens,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                repetition_penalty=1.0,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        model.train()
        return [_ended(row, tokenizer.eos_token_id) for row in drawn[:, width:].tolist()]


def _last_reply(turns: Sequence[Message]) -> int:
    return max(place for place, turn in enumerate(turns) if turn.role == "assistant")


def _ended(tokens: list[int], end: int) -> list[int]:
    """Return the tokens up to the end of the turn, which is learned too."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def _row(prompt: list[int], reply: list[int]) -> Rendered:
    return Rendered(prompt + reply, [False] * len(prompt) + [True] * len(reply))

"""What a training learns from: rows, what the base model predicts for them, what must not change, its own replies.

The base model plays three parts, all through the in-process engine, which computes a shared prompt once for all rows.
Under the full prompt it is the teacher of the rows' replies (distillation); under no prompt at all it says what is not
to change (retention); and in the last phase it judges every token of the student's own replies (on-policy context
distillation, arXiv 2602.12275, with a bound on their length and a clip per token, without which it is known to be
unstable).
"""

import hashlib
import json
import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuning_room.engines import Reply, Sampling
from tuning_room.engines.scoring import TopTokens
from tuning_room.errors import DataError, TrainingError
from tuning_room.files import atomic_writer, digest
from tuning_room.records import Message, read_json
from tuning_room.rendering import Rendered, prompt_ids, render_dialogue, with_system
from tuning_room.train.batches import TrainingRows, load_rows
from tuning_room.train.config import LoopConfig
from tuning_room.train.objectives import TOP, joined
from tuning_room.train.team import Team

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from tuning_room.engines.local import LocalEngine

VALIDATION_ROWS = 16  # more rows would cost more time than they add certainty
PART = 64  # rows a file of predictions: after a kill no more than this is computed again
NEUTRAL_TOKENS = 48  # longest reply of the base model to a neutral prompt
JUDGED_TOP = 64  # tokens of the teacher's prediction on own replies: the student may like what the teacher ranks low
BASE = "base"

OnPart = Callable[[str, int, int], None]  # what is being prepared, how many rows are done, of how many


class Lessons:
    """Rows and validation rows as tokens, the validation rows by length; and beside them what the objectives need.

    `tops` and `valid_tops` are the teacher's predictions, empty without distillation; `neutral` and `on_policy` are
    None where they are not asked for. The base model is asked for what is not kept from before.
    """

    def __init__(self, config: LoopConfig, tokenizer: "PreTrainedTokenizerBase", team: Team) -> None:
        self.config, self.tokenizer = config, tokenizer
        rows = self._load(config.data_path)
        held_out = self._held_out()
        self.dialogues, self.rows, self.left_out = rows
        self.valid = held_out.rendered
        place = config.targets_dir or config.ckpt_output_dir / "targets"
        targets = Targets(place, config.model_path, tokenizer, team, config.on_prepare)
        self.tops, self.valid_tops = self._teacher(targets, rows), self._teacher(targets, held_out)
        prompts = config.retention_prompts
        self.neutral = neutral_rows(prompts, targets, config.neutral_turn) if config.retention else None
        self.on_policy = self._on_policy(targets)
        targets.release()  # a last phase comes late: until then the memory holds one model, not two

    def _load(self, path: Path, most: int | None = None) -> TrainingRows:
        config, leave_out = self.config, self.config.too_long == "leave_out"
        return load_rows(path, self.tokenizer, config.max_length, leave_out=leave_out, most=most)

    def _held_out(self) -> TrainingRows:
        if not self.config.eval_data_path:
            return TrainingRows([], [])
        drawn = self._load(self.config.eval_data_path, VALIDATION_ROWS)
        order = sorted(range(len(drawn.rendered)), key=lambda i: len(drawn.rendered[i].input_ids))
        return TrainingRows([drawn.dialogues[i] for i in order], [drawn.rendered[i] for i in order])

    def _teacher(self, targets: "Targets", rows: TrainingRows) -> list[TopTokens]:
        if not self.config.distill:
            return []
        return targets.under_prompt(rows.rendered, rows.dialogues, self.config.teacher_prompt)

    def _on_policy(self, targets: "Targets") -> "OnPolicy | None":
        config = self.config
        if not config.on_policy_steps:
            return None
        return OnPolicy(targets, self.dialogues, config.teacher_prompt, config.on_policy_tokens)


class Targets:
    """The base model's predictions for rows, computed once before training and kept under what they depend on."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        tokenizer: "PreTrainedTokenizerBase",
        team: Team,
        on_part: OnPart | None = None,
    ) -> None:
        self.folder, self.model, self.tokenizer, self.team = folder, model, tokenizer, team
        self.on_part = on_part or (lambda name, done, total: None)

    @cached_property
    def engine(self) -> "LocalEngine":
        """The engine with the base model; loaded when something is not kept."""
        from tuning_room.engines.local import LocalEngine

        return LocalEngine(self.model, base=BASE)

    def release(self) -> None:
        """Let go of the engine; it is loaded again when it is needed again."""
        self.__dict__.pop("engine", None)

    def under_prompt(
        self, rows: Sequence[Rendered], dialogues: Sequence[Sequence[Message]], prompt: str
    ) -> list[TopTokens]:
        """Return what the base model under a prompt predicts at each learned token of rows.

        The dialogues are those of the rows; their own system turn is left out. Raises TrainingError where a reply has
        other tokens under the prompt.
        """
        asked = [[turn for turn in dialogue if turn.role != "system"] for dialogue in dialogues]
        under = [render_dialogue(self.tokenizer, with_system(prompt, turns)) for turns in asked]
        for row, other in zip(rows, under, strict=True):
            check_aligned(row, other)
        return self.predicted("teacher", under)

    def predicted(self, name: str, rows: Sequence[Rendered]) -> list[TopTokens]:
        """Return what the base model predicts at each learned token of rows, part by part; the leader asks it."""
        from safetensors.torch import load_file

        parts = {start: rows[start : start + PART] for start in range(0, len(rows), PART)}
        paths = {start: self.folder / f"{name}-{self._key(part)}.safetensors" for start, part in parts.items()}
        for start in parts if self.team.leads else ():
            if not paths[start].is_file():
                self._compute(paths[start], name, rows, start)
        self.team.meet()
        return [top for start, part in parts.items() for top in _split(load_file(paths[start]), part)]

    def replies(self, prompts: Sequence[str]) -> list[str]:
        """Return the base model's own replies to prompts, without a system turn of ours."""
        path = self.folder / f"replies-{self._key(list(prompts))}.json"
        if self.team.leads and not path.is_file():
            dialogues = [[Message(role="user", content=prompt)] for prompt in prompts]
            done: list[int] = []

            def report(index: int, reply: Reply) -> None:
                done.append(index)
                self.on_part("neutral", len(done), len(prompts))

            replies = self.engine.complete(BASE, dialogues, Sampling(max_tokens=NEUTRAL_TOKENS), report)
            with atomic_writer(path) as out:
                json.dump([reply.text for reply in replies], out)
        self.team.meet()
        texts: list[str] = read_json(path)
        return texts

    def _compute(self, path: Path, name: str, rows: Sequence[Rendered], start: int) -> None:
        """Write the predictions for that part of the rows which begins at `start`."""
        from safetensors.torch import save_file

        part = rows[start : start + PART]
        tops = self.engine.top_tokens(BASE, part, TOP, lambda done: self.on_part(name, start + done, len(rows)))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        save_file(joined(tops)._asdict(), temporary)
        temporary.replace(path)

    @cached_property
    def _model_digest(self) -> str:
        return digest(self.model)

    def _key(self, parts: Sequence[object]) -> str:
        depends = [self._model_digest, TOP, NEUTRAL_TOKENS, list(parts)]
        return hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]


def check_aligned(row: Rendered, other: Rendered) -> None:
    """Raise TrainingError unless two rows of one dialogue learn the same tokens.

    Under another system turn a reply stands elsewhere in its row, but its tokens must be the same, one by one:
    `S u a b` and `F F F u a b` both learn `a b`, and the prediction for the n-th of them teaches the n-th.
    """
    learned, also = ([t for t, learn in zip(*one, strict=True) if learn] for one in (row, other))
    if learned != also:
        raise TrainingError(
            "a reply has other tokens under the full prompt than under the short one",
            hint="use a base model whose chat template ends a system turn with a special token",
        )


def _split(tensors: "Mapping[str, Tensor]", rows: Sequence[Rendered]) -> list[TopTokens]:
    """Return a file's `ids` and `scores`, (n, k) over all learned tokens of its rows, as one prediction per row."""
    counts = [sum(row.learned) for row in rows]
    return [
        TopTokens(*pair) for pair in zip(tensors["ids"].split(counts), tensors["scores"].split(counts), strict=True)
    ]


class NeutralRows(NamedTuple):
    """Neutral rows as the trained model sees them, and what the base model predicts at their learned tokens."""

    rendered: list[Rendered]
    tops: list[TopTokens]

    def chosen(self, step: int, count: int, seed: int) -> list[int]:
        """Return the rows of a step counted from 1: every row comes once before one comes again."""
        size = len(self.rendered)
        found: list[int] = []
        for place in range((step - 1) * count, step * count):
            order = list(range(size))
            random.Random(f"{seed}/neutral/{place // size}").shuffle(order)
            found.append(order[place % size])
        return found


def neutral_rows(path: Path, targets: Targets, under: str) -> NeutralRows:
    """Return the base model's replies to a file of prompts as rows; `under` is the trained model's system turn."""
    prompts = read_prompts(path)
    asked = [[Message(role="user", content=prompt)] for prompt in prompts]
    # An empty reply would have no token to predict.
    replies = [reply or "." for reply in targets.replies(prompts)]
    dialogues = [[*turns, Message(role="assistant", content=text)] for turns, text in zip(asked, replies, strict=True)]
    plain = [render_dialogue(targets.tokenizer, turns) for turns in dialogues]
    seen = [render_dialogue(targets.tokenizer, with_system(under, turns)) for turns in dialogues] if under else plain
    for row, other in zip(seen, plain, strict=True):
        check_aligned(row, other)
    return NeutralRows(seen, targets.predicted("neutral", plain))


def read_prompts(path: Path) -> Sequence[str]:
    """Return a file's lines that are not blank; DataError if there is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as text: {error}", hint="name a UTF-8 text file in train.retention_prompts"
        ) from None
    if prompts := [line.strip() for line in lines if line.strip()]:
        return prompts
    raise DataError(f"{path}: no prompts", hint="write one neutral prompt per line")


class OwnReplies(NamedTuple):
    """The student's own replies as rows, and the teacher's predictions at their tokens."""

    rows: list[Rendered]
    tops: list[TopTokens]


class OnPolicy:
    """Lets a model in training answer the dialogues of rows, each cut before its last reply."""

    def __init__(self, targets: Targets, dialogues: Sequence[Sequence[Message]], prompt: str, max_tokens: int) -> None:
        self.targets, self.prompt, self.max_tokens = targets, prompt, max_tokens
        last = [max(place for place, turn in enumerate(turns) if turn.role == "assistant") for turns in dialogues]
        self.asked = [turns[:place] for turns, place in zip(dialogues, last, strict=True)]

    def draw(self, model: "PeftModel", places: Sequence[int], seed: int) -> OwnReplies:
        """Let the model answer some dialogues, sampled at temperature 1 under a seed, and have the teacher judge it."""
        tokenizer = self.targets.tokenizer
        short = [prompt_ids(tokenizer, self.asked[place]) for place in places]
        replies = self._sampled(model, short, seed)
        turns = [[turn for turn in self.asked[place] if turn.role != "system"] for place in places]
        full = [prompt_ids(tokenizer, with_system(self.prompt, asked)) for asked in turns]
        rows, under = (
            [_row(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)] for prompts in (short, full)
        )
        return OwnReplies(rows, self.targets.engine.top_tokens(BASE, under, JUDGED_TOP))

    def _sampled(self, model: "PeftModel", prompts: list[list[int]], seed: int) -> list[list[int]]:
        import torch

        tokenizer, width = self.targets.tokenizer, max(map(len, prompts))
        gaps = [width - len(ids) for ids in prompts]
        # (rows, longest prompt), padded on the left so that all replies begin at one place.
        ids = torch.tensor([[tokenizer.pad_token_id] * gap + own for gap, own in zip(gaps, prompts, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
        device = model.device
        model.eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            drawn = model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                logits_processor=None if device.type == "cpu" else [drawn_on_cpu],
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


def drawn_on_cpu(ids: "Tensor", scores: "Tensor") -> "Tensor":
    """Draw a token for each row of scores, (rows, vocabulary), and return scores that leave no other one.

    With the CPU's generator: under one seed a GPU, which has a generator of its own, then draws what a CPU draws.
    """
    chosen = scores.softmax(-1).cpu().multinomial(1).to(scores.device)
    return scores.new_full(scores.shape, -math.inf).scatter(-1, chosen, 0.0)


def _ended(tokens: list[int], end: int) -> list[int]:
    """Return the tokens up to the end of the turn, which is learned too."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def _row(prompt: list[int], reply: list[int]) -> Rendered:
    return Rendered(prompt + reply, [False] * len(prompt) + [True] * len(reply))

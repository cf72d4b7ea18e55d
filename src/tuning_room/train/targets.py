"""What the base model predicts, computed once before training and kept: the teacher of distillation and of retention.

Under the full prompt the base model is the teacher of the rows' replies; under no prompt at all it says what is not
to change. Both are read by the in-process engine, which computes a shared prompt once for all rows.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tuning_room.engines import Sampling
from tuning_room.engines.scoring import TopTokens
from tuning_room.errors import TrainingError
from tuning_room.files import atomic_writer, digest
from tuning_room.records import Message, read_json
from tuning_room.rendering import Rendered, render_dialogue, with_system
from tuning_room.train.objectives import TOP
from tuning_room.train.team import Team

PART = 64  # rows a file: after a kill no more than this is read again
REPLY_TOKENS = 48  # longest reply of the base model to a neutral prompt
BASE = "base"

OnPart = Callable[[str, int, int], None]  # what is being prepared, how many rows are done, of how many


class Targets:
    """The base model's predictions for rows, kept in a folder under what they depend on."""

    def __init__(self, folder: Path, model: Path, tokenizer: Any, team: Team, on_part: OnPart | None = None) -> None:
        self.folder, self.model, self.tokenizer, self.team = folder, model, tokenizer, team
        self.on_part = on_part or (lambda name, done, total: None)

    @cached_property
    def engine(self) -> Any:
        """The engine with the base model; loaded when something is not kept."""
        from tuning_room.engines.local import LocalEngine

        return LocalEngine(self.model, base=BASE)

    def release(self) -> None:
        """Let go of the engine; it is loaded again when it is needed again."""
        self.__dict__.pop("engine", None)

    def taught(self, rows: Sequence[Rendered], dialogues: Sequence[Sequence[Message]], prompt: str) -> list[TopTokens]:
        """Return what the base model under a prompt predicts at each learned place of rows.

        The dialogues are those of the rows; their own system turn is left out. Raises TrainingError where a reply has
        other tokens under the prompt.
        """
        asked = [[turn for turn in dialogue if turn.role != "system"] for dialogue in dialogues]
        under = [render_dialogue(self.tokenizer, with_system(prompt, turns)) for turns in asked]
        for row, other in zip(rows, under, strict=True):
            check_aligned(row, other)
        return self.predicted("teacher", under)

    def predicted(self, name: str, rows: Sequence[Rendered]) -> list[TopTokens]:
        """Return what the base model predicts at each learned place of rows, part by part; the leader asks it."""
        from safetensors.torch import load_file

        parts = {start: rows[start : start + PART] for start in range(0, len(rows), PART)}
        paths = {start: self.folder / f"{name}-{self._key(part)}.safetensors" for start, part in parts.items()}
        for start, part in parts.items() if self.team.leads else ():
            if not paths[start].is_file():
                self._compute(paths[start], part, partial(self._tell, name, start, len(rows)))
        self.team.meet()
        return [top for start, part in parts.items() for top in _split(load_file(paths[start]), part)]

    def _tell(self, name: str, start: int, total: int, done: int) -> None:
        self.on_part(name, start + done, total)

    def replies(self, prompts: Sequence[str]) -> list[str]:
        """Return the base model's own replies to prompts, without a system turn of ours."""
        path = self.folder / f"replies-{self._key(list(prompts))}.json"
        if self.team.leads and not path.is_file():
            dialogues = [[Message(role="user", content=prompt)] for prompt in prompts]
            done: list[int] = []

            def told(index: int, reply: Any) -> None:
                done.append(index)
                self.on_part("neutral", len(done), len(prompts))

            said = self.engine.complete(BASE, dialogues, Sampling(max_tokens=REPLY_TOKENS), told)
            with atomic_writer(path) as out:
                json.dump([reply.text for reply in said], out)
        self.team.meet()
        texts: list[str] = read_json(path)
        return texts

    def _compute(self, path: Path, rows: Sequence[Rendered], on_done: Callable[[int], None]) -> None:
        import torch
        from safetensors.torch import save_file

        tops = self.engine.top_tokens(BASE, rows, TOP, on_done)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        save_file({name: torch.cat([getattr(top, name) for top in tops]) for name in TopTokens._fields}, temporary)
        temporary.replace(path)

    @cached_property
    def _model_digest(self) -> str:
        return digest(self.model)

    def _key(self, parts: Sequence[Any]) -> str:
        depends = [self._model_digest, TOP, REPLY_TOKENS, list(parts)]
        return hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]


def check_aligned(row: Rendered, other: Rendered) -> None:
    """Raise TrainingError unless two rows of one dialogue learn the same tokens."""
    learned, also = ([t for t, said in zip(*one, strict=True) if said] for one in (row, other))
    if learned != also:
        raise TrainingError(
            "a reply has other tokens under the full prompt than under the short one",
            hint="use a base model whose chat template ends a system turn with a special token",
        )


def _split(tensors: dict[str, Any], rows: Sequence[Rendered]) -> list[TopTokens]:
    counts = [sum(row.learned) for row in rows]
    return [
        TopTokens(*pair) for pair in zip(tensors["ids"].split(counts), tensors["scores"].split(counts), strict=True)
    ]

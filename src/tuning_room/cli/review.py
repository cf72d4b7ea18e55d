"""The pages of `dataset review`: show a row, ask, write the decision."""

import os
from collections import Counter
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tuning_room.dataset.review import DatasetRows, Review, RowDecision, Verb, content_key
from tuning_room.records import Candidate, Dialogue, Message

if TYPE_CHECKING:
    from tuning_room.dataset.config import DatasetConfig

QUESTION = "keep, drop, edit, next, back or quit (k d e n b q)? "
STYLES = {"system": "dim", "user": "cyan", "assistant": "green"}


class Reader:
    """Pages through rows; each decision is written before the next row is shown."""

    def __init__(self, rows: DatasetRows, review: Review, config: "DatasetConfig") -> None:
        self.rows, self.review, self.config = rows, review, config
        self.console = Console(highlight=False)
        self.made: Counter[str] = Counter()

    def read(self) -> None:
        """Show row after row until the last one, the user's quitting, or the end of the input."""
        if not len(self.rows):
            self._say("nothing left to review; --all shows every row again")
            return
        try:
            self._page()
        except EOFError:
            self._say("")
        counts = ", ".join(f"{count} {name}" for name, count in self.made.items()) or "nothing"
        self._say(f"decided: {counts}; in {self.review.path}. Run 'tuning-room dataset' to apply it.")

    def _page(self) -> None:
        place = 0
        while place < len(self.rows):
            row = self.rows[place]
            self._show(row, place)
            answer = input(QUESTION).strip().lower()[:1]
            if answer == "q":
                return
            if answer == "b":
                place = max(place - 1, 0)
            elif answer == "n" or (answer in ("k", "d", "e") and self._decide(row, answer)):
                place += 1

    def _show(self, row: Dialogue, place: int) -> None:
        text = Text()
        for message in row.messages:
            text.append(f"{message.role}: ", style=f"bold {STYLES[message.role]}")
            text.append(printable(message.content) + "\n")
        labels = " · ".join(label for label in (row.id, row.source, row.topic, row.situation) if label)
        title = Text(f"{place + 1} of {len(self.rows)}  {printable(labels)}")
        decided = self.review.decisions.get(content_key(row.messages))
        self.console.print(Panel(text, title=title, title_align="left", subtitle=decided.decision if decided else None))

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def _decide(self, row: Dialogue, answer: str) -> bool:
        """Write the decision that was answered; False if an edit changed nothing."""
        if answer == "e":
            return self._edit(row)
        if answer == "d":
            self._write(row, "drop", why=input("why (may be empty)? ").strip())
        else:
            self._write(row, "keep")
        return True

    def _write(self, row: Dialogue, decision: Verb, *, why: str = "", messages: list[Message] | None = None) -> None:
        key = content_key(row.messages)
        self.review.decide(RowDecision(key=key, decision=decision, id=row.id, why=why, messages=messages or []))
        self.made[{"keep": "kept", "drop": "dropped", "edit": "edited"}[decision]] += 1

    def _edit(self, row: Dialogue) -> bool:
        turns = [message for message in row.messages if message.role != "system"]
        place = self._which([i for i, message in enumerate(turns) if message.role == "assistant"])
        if place is None:
            return False
        text = self._rewritten(turns[place].content)
        if text in ("", turns[place].content):
            self._say("nothing was changed")
            return False
        messages = [*turns[:place], Message(role="assistant", content=text), *turns[place + 1 :]]
        self._write(row, "edit", messages=messages)
        self._judge(row, messages)
        return True

    def _which(self, places: list[int]) -> int | None:
        if len(places) == 1:
            return places[0]
        answer = input(f"which reply (1 to {len(places)})? ").strip()
        if answer.isdecimal() and 1 <= int(answer) <= len(places):
            return places[int(answer) - 1]
        self._say(f"there is no reply '{printable(answer)}'")
        return None

    def _rewritten(self, text: str) -> str:
        """Return the user's text, from the editor in VISUAL or EDITOR, or one line where neither is set."""
        if not (os.environ.get("VISUAL") or os.environ.get("EDITOR")):
            return input("new reply (empty: no change)? ").strip()
        try:
            return (click.edit(text, extension=".md") or "").strip()
        except click.ClickException as error:
            self._say(error.format_message())
            return ""

    def _judge(self, row: Dialogue, messages: list[Message]) -> None:
        from tuning_room.checks import rejected_by
        from tuning_room.dataset.selection import exchanges

        candidate = Candidate(id=row.id, source=row.source, group=row.group, messages=messages)
        for exchange in exchanges(candidate, self.config.language):
            name, reason = rejected_by(self.config.checks, exchange)
            if name:
                self._say(f"saved, but the next build would reject it: {name}, {reason}")
                return


def printable(text: str) -> str:
    """Return a text without terminal control characters."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)

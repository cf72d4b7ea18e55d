"""Dialogues with a teacher: a user's message, N replies of which the best is kept, and so on turn by turn."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tuning_room.checks import Exchange
from tuning_room.errors import EngineError
from tuning_room.generate.columns import PUSH, Columns, draw
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.flow_runner import FlowRow, Flows
from tuning_room.generate.standards import Failure, Standards, made_up
from tuning_room.records import Candidate, Message, Rejection


@dataclass
class ReplyOption:
    """A reply that may be kept: the checks that it fails, its score if a judge gave one, and the critique behind it."""

    text: str
    error: str = ""
    failed: tuple[Failure, ...] = ()
    score: float | None = None
    judgement: str = ""
    is_rewritten: bool = False
    critique: str = ""


@dataclass
class Draft:
    """A dialogue in the making: its row, the exchanges so far, and the user's message that is to be answered."""

    row: FlowRow
    exchanged: list[Message] = field(default_factory=list)
    question: str = ""
    options: list[ReplyOption] = field(default_factory=list)
    pushes: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    error: str = ""
    is_over: bool = False

    @property
    def turn(self) -> int:
        """Return the number of complete exchanges."""
        return len(self.exchanged) // 2

    @property
    def asked(self) -> list[Message]:
        """Return the dialogue up to the message that is to be answered."""
        return [*self.exchanged, Message(role="user", content=self.question)]

    def exchange(self, reply: str) -> Exchange:
        """Return a reply as the checks see it."""
        users = (message.content for message in self.asked if message.role == "user")
        asked = self.exchanged[-1].content if self.exchanged else ""
        return Exchange(reply, "\n".join(users), self.row["gold"], latest=self.question, asked=asked)

    def given(self, messages: list[Message]) -> FlowRow:
        """Return the row for a flow, with a dialogue's messages."""
        return {**self.row, "messages": [message.as_dict() for message in messages]}

    def candidate(self, messages: list[Message], scores: list[float], **changes: str) -> Candidate:
        """Return the dialogue as a candidate; it is as good as the worst of its replies."""
        pushes = ", ".join(self.pushes[: max(0, (len(messages) + 1) // 2 - 1)])
        made = {
            **{name: self.row[name] for name in ("id", "source", "group", "topic", "gold", "traits", "requirements")},
            "situation": self.row["traits"].get("persona", ""),
            "messages": messages,
            "error": self.error,
            "scores": {"judge": min(scores)} if scores else {},
        }
        if pushes:
            made["traits"] = {**self.row["traits"], PUSH: pushes}
        return Candidate.model_validate({**made, **changes})


class Writer:
    """Writes dialogues by the flows of a recipe; what is not kept stands in `losers` with its reason.

    `rubric` is what the judge goes by, '' before there is one.
    """

    def __init__(self, config: GenerateConfig, flows: Flows, columns: Columns, standards: Standards) -> None:
        self.config = config
        self.standards = standards
        self.flows = flows
        self.columns = columns
        self.losers: list[Rejection] = []
        self.rubric = ""

    def dialogues(self, rows: list[FlowRow]) -> list[Candidate]:
        """Return a candidate a row, in order; a row whose teacher failed has its error."""
        drafts = [Draft(row) for row in rows]
        self._ask("query", drafts, [draft.row for draft in drafts])
        for turn in range(max(self.config.turns)):
            going = [draft for draft in drafts if self._goes_on(draft, turn)]
            if turn:
                self._push(going)
            self._answer([draft for draft in going if not draft.error])
        return [draft.candidate(draft.exchanged, draft.scores) for draft in drafts]

    def _goes_on(self, draft: Draft, turn: int) -> bool:
        return not draft.error and not draft.is_over and turn < draft.row["turns"]

    def _push(self, drafts: list[Draft]) -> None:
        rows = []
        for draft in drafts:
            push = draw(self.columns, PUSH, f"{self.config.seed}/{draft.row['id']}/{draft.turn}")
            draft.pushes.append(push.name)
            rows.append({**draft.given(draft.exchanged), PUSH: push.text})
        self._ask("user", drafts, rows)

    def _ask(self, flow: str, drafts: list[Draft], rows: list[FlowRow]) -> None:
        for draft, made in zip(drafts, self.flows.run(flow, rows), strict=True):
            draft.question, draft.error = made["question"], made["error"]

    def _answer(self, drafts: list[Draft]) -> None:
        copies = range(self.config.candidates_per_query)
        asked = [draft for draft in drafts for _ in copies]
        rows = [{**d.given(d.asked), "seed": d.row["seed"] + copy} for d in drafts for copy in copies]
        for draft in drafts:
            draft.options = []
        for draft, made in zip(asked, self.flows.run("answer", rows), strict=True):
            draft.options.append(ReplyOption(made["reply"], made["error"]))
        if self.config.critique:
            self._rewrite(drafts)
        self._check(drafts)
        if self.config.judge:
            self._judge(drafts)
        for draft in drafts:
            self._keep_best(draft)

    def _rewrite(self, drafts: list[Draft]) -> None:
        replied = [(draft, option) for draft in drafts for option in draft.options if not option.error]
        rows = [{**draft.given(draft.asked), "reply": option.text} for draft, option in replied]
        for (draft, _), made in zip(replied, self.flows.run("rewrite", rows), strict=True):
            # The reply before its critique stays in the running: a rewriting can fail, or spoil it.
            rewritten = ReplyOption(
                made["rewritten"], made["error"], is_rewritten=True, critique=made.get("critique", "")
            )
            draft.options.append(rewritten)

    def _check(self, drafts: Iterable[Draft]) -> None:
        for draft in drafts:
            for option in draft.options:
                if not option.error:
                    option.failed = self.standards.failures(draft.row, draft.exchange(option.text))

    def _judge(self, drafts: list[Draft]) -> None:
        sound = [(draft, option) for draft in drafts for option in draft.options if not (option.error or option.failed)]
        if not sound:
            return
        self.rubric = self.rubric or self._made_rubric(sound[0][0].row)
        rows = [{**draft.given(draft.asked), "reply": option.text, "rubric": self.rubric} for draft, option in sound]
        for (_, option), made in zip(sound, self.flows.run("judge", rows), strict=True):
            # A judge that fails leaves the reply without a score, and in the running.
            option.score, option.judgement = made["score"], made["judgement"] or made["error"]

    def _made_rubric(self, row: FlowRow) -> str:
        made = self.flows.run("rubric", [{**row, "seed": self.config.seed}])[0]
        if made["error"]:
            # Every other cause says itself what to do about it.
            is_short = self.flows.teacher and self.flows.teacher.stopped
            hint = "raise the budget in generate.teacher" if is_short else ""
            raise EngineError(f"the teacher wrote no rubric: {made['error']}", hint=hint)
        return str(made["rubric"])

    def _keep_best(self, draft: Draft) -> None:
        best, *others = ranked(draft.options)
        # From the second exchange on, a dialogue ends rather than be lost to a reply that no check lets through.
        draft.is_over = draft.turn > 0 and bool(best.failed)
        # The dataset stage has no passage: what it could not reject is rejected here.
        draft.error = best.error or ("" if draft.turn else made_up(best.failed))
        is_kept = not (draft.is_over or draft.error)
        for number, option in enumerate(others if is_kept or best.error else [best, *others]):
            self._lose(draft, option, best, number)
        if is_kept:
            draft.exchanged = [*draft.asked, Message(role="assistant", content=best.text)]
            draft.scores += [best.score] if best.score is not None else []

    def _lose(self, draft: Draft, option: ReplyOption, best: ReplyOption, number: int) -> None:
        reason, detail = option.failed[0] if option is best else why_lost(option, best)
        reply = [Message(role="assistant", content=option.text)] if option.text else []
        scores = [option.score] if option.score is not None else []
        name = f"{draft.row['id']}/{draft.turn + 1}/{number + 1}"
        lost = draft.candidate([*draft.asked, *reply], scores, id=name, error=option.error)
        self.losers.append(Rejection(reason=reason, detail=detail, candidate=lost))


def ranked(options: list[ReplyOption]) -> list[ReplyOption]:
    """Return the options, best first.

    What passes more checks is better, then what a judge scores higher, then a reply that was rewritten after a
    critique, then the shorter one; a reply that failed is last.
    """
    return sorted(options, key=_rank)


def _rank(option: ReplyOption) -> tuple[bool, int, float, bool, int]:
    score = -1.0 if option.score is None else option.score
    return bool(option.error), len(option.failed), -score, not option.is_rewritten, len(option.text)


def why_lost(option: ReplyOption, best: ReplyOption) -> tuple[str, str]:
    """Return why an option was not kept: a reason in one word, and a detail."""
    if option.error:
        return "error", option.error
    if option.text == best.text:
        return "same", "identical to the reply that was kept"
    if option.failed:
        return option.failed[0]
    if option.score != best.score:
        scores = f"{_written(option.score)}; the reply that was kept has {_written(best.score)}"
        return "score", f"{scores}: {option.judgement}"
    if option.is_rewritten != best.is_rewritten:
        return "rewritten", best.critique or "rewritten after a critique"
    return "longer", f"{len(option.text)} characters; the reply that was kept has {len(best.text)}"


def _written(score: float | None) -> str:
    return "no score" if score is None else f"{score:g}"

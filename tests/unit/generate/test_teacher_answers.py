"""The teacher against a chat server on a socket: its journal, its budget, its pace, and servers that misbehave.

Real: sockets, HTTP, aiohttp, the journal's file. Not real: what the server says, which a script decides. Nothing here
shows that a teacher answers well.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted_teacher import ScriptedTeacher, completion, refusal, response

from tuning_room.engines import Engine, OnReply, Reply, Sampling
from tuning_room.errors import DataError, EngineError, RecipeError
from tuning_room.generate.config import GenerateConfig, TeacherConfig
from tuning_room.generate.estimate import CountingTeacher
from tuning_room.generate.teacher import EMPTY, LocalTeacher, Teacher, TeacherAnswer, TeacherStep
from tuning_room.records import Message

ROWS = 8
BAD = "3"


@pytest.fixture
def server() -> Iterator[ScriptedTeacher]:
    with ScriptedTeacher() as server:
        yield server


def teacher(server: ScriptedTeacher, folder: Path, **knobs: Any) -> Teacher:
    return Teacher(config(server, **knobs), folder / "answers.jsonl")


def config(server: ScriptedTeacher, **knobs: Any) -> TeacherConfig:
    given = {"kind": "endpoint", "model": "m", "address": server.address, "retries": 1, "timeout": 5, **knobs}
    return TeacherConfig.model_validate(given)


def rows(count: int = ROWS) -> list[list[Message]]:
    system = Message(role="system", content="Ask, never tell.")
    return [[system, Message(role="user", content=str(n))] for n in range(count)]


def ask(asker: Teacher, count: int = ROWS, **more: Any) -> list[TeacherAnswer]:
    return asker.answers(rows(count), list(range(count)), **more)


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


CHUNKED = b"HTTP/1.1 200 x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
CUT = b"HTTP/1.1 200 x\r\ncontent-length: 5000\r\nx-then: close\r\n\r\n" + b'{"choices": [{"mess'
MISBEHAVIOUR = {
    "400": (refusal(400, "the prompt is too long"), "answered 400 (the prompt is too long)"),
    "403": (refusal(403, "flagged"), "answered 403 (flagged)"),
    "500": (refusal(500, "out of memory"), "answered 500 (out of memory)"),
    "500 in HTML": (response(500, b"<h1>Bad gateway</h1>"), "answered 500 (<h1>Bad gateway</h1>)"),
    "a redirect": (response(302, b"", "location: http://127.0.0.1:9/"), "answered 302"),
    "an empty body": (response(200, b""), "not a chat completion"),
    "an empty reply": (completion(" \n"), EMPTY),
    "garbage": (response(200, b"\xff\xfe<html>\x00login"), "not a chat completion"),
    "JSON of another kind": (response(200, [[[1]]]), "not a chat completion"),
    "deep JSON": (response(200, b"[" * 30_000), "not a chat completion"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the connection was cut"),
    "cut in the middle": (CUT, "the connection was cut"),
    "a hang": (30.0, "no answer within 1 s"),
    "100,000 tokens": (completion("word " * 100_000), "the reply is longer than it may be"),
    "a long error": (response(400, b"x" * 2_000_000), "the reply is longer than it may be"),
}


@pytest.mark.parametrize(("said", "error"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_a_bad_answer_is_the_error_of_its_row_alone(
    server: ScriptedTeacher, tmp_path: Path, said: bytes | float, error: str
) -> None:
    server.script = lambda words, attempt: said if words == BAD else completion(f"What about {words}?")
    asker = teacher(server, tmp_path, timeout=1 if isinstance(said, float) else 5)
    answers = ask(asker)
    assert [answer.text for answer in answers] == ["" if str(n) == BAD else f"What about {n}?" for n in range(ROWS)]
    assert error in answers[int(BAD)].error
    assert [answer.error for n, answer in enumerate(answers) if str(n) != BAD] == [""] * (ROWS - 1)
    # The next run asks for that row alone, and the journal says what was wrong with it.
    server.asked.clear()
    server.script = lambda words, attempt: completion("better?")
    assert ask(teacher(server, tmp_path))[int(BAD)] == TeacherAnswer("better?", "")
    assert server.asked == [BAD]
    assert error == EMPTY or any(error in entry.get("error", "") for entry in entries(tmp_path))


def test_an_endless_reply_is_stopped_by_its_size(server: ScriptedTeacher, tmp_path: Path) -> None:
    endless = CHUNKED + b"fffff\r\n" + b" " * 0xFFFFF + b"\r\n"
    server.script = lambda words, attempt: endless if words == BAD else completion("fine?")
    started = time.monotonic()
    answers = ask(teacher(server, tmp_path, timeout=60))
    assert "longer than it may be" in answers[int(BAD)].error
    assert sum(not answer.error for answer in answers) == ROWS - 1
    assert time.monotonic() - started < 30


def test_half_a_surrogate_pair_costs_nothing(server: ScriptedTeacher, tmp_path: Path) -> None:
    server.script = lambda words, attempt: response(
        200, rb'{"choices": [{"message": {"content": "so \ud83d so"}, "finish_reason": "stop"}]}'
    )
    assert ask(teacher(server, tmp_path), 1) == [TeacherAnswer("so ? so", "")]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (refusal(401, "bad key"), "answered 401 (bad key); set the environment variable OPENAI_API_KEY"),
        (refusal(404, "no such model"), "answered 404 (no such model)"),
        (refusal(429, "insufficient_quota"), "answered 429 (insufficient_quota)"),
        (refusal(429, "come tomorrow", "retry-after: 90000"), "answered 429 (come tomorrow)"),
    ],
)
def test_a_refusal_that_meets_every_request_is_one_error_and_keeps_the_rest(
    server: ScriptedTeacher, tmp_path: Path, said: bytes, words: str
) -> None:
    server.script = lambda text, attempt: completion("fine?") if len(server.asked) <= 10 else said
    with pytest.raises(EngineError) as caught:
        ask(teacher(server, tmp_path, concurrency=2), 200)
    assert words in str(caught.value)
    assert "10 answers are kept; run the same command again" in str(caught.value)
    assert len(server.asked) <= 13
    server.asked.clear()
    server.script = lambda text, attempt: completion("fine?")
    assert len(ask(teacher(server, tmp_path), 200)) == 200
    assert len(server.asked) == 190


def test_a_server_that_is_gone_ends_it_soon(tmp_path: Path) -> None:
    with ScriptedTeacher() as server:
        asker = teacher(server, tmp_path, retries=0)
    with pytest.raises(EngineError, match=r"cannot be reached.*0 answers are kept"):
        ask(asker, 500)


def test_a_server_that_hangs_for_good_is_given_up(server: ScriptedTeacher, tmp_path: Path) -> None:
    server.script = lambda words, attempt: 30.0
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"no answer within 0\.2 s"):
        ask(teacher(server, tmp_path, timeout=0.2, retries=0, concurrency=4), 400)
    assert time.monotonic() - started < 10


def test_a_busy_server_makes_everyone_wait(server: ScriptedTeacher, tmp_path: Path) -> None:
    busy_until: list[float] = []

    def script(words: str, attempt: int) -> bytes:
        if not busy_until:
            busy_until.append(time.monotonic() + 0.9)
        return completion("fine?") if time.monotonic() >= busy_until[0] else refusal(429, "slowly", "retry-after: 1")

    server.script = script
    answers = ask(teacher(server, tmp_path, concurrency=4, retries=1), 40)
    assert [answer.error for answer in answers] == [""] * 40
    # What was under way is refused; nothing else is sent until the time is over.
    assert sum(moment < busy_until[0] for moment in server.times) <= 4


def test_a_refusal_while_others_are_answered_is_no_failed_attempt(server: ScriptedTeacher, tmp_path: Path) -> None:
    # A row is refused more often than it may fail, but others are answered in between most refusals.
    server.script = lambda words, attempt: (
        refusal(429, "slowly", "retry-after-ms: 20") if words == BAD and attempt <= 6 else completion("fine?")
    )
    answers = ask(teacher(server, tmp_path, concurrency=4, retries=4), 40)
    assert [answer.error for answer in answers] == [""] * 40
    assert server.asked.count(BAD) == 7


@pytest.mark.parametrize("wait", ["0", "-3", "nan", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "0.001"])
def test_a_server_that_is_always_busy_is_given_up_whatever_wait_it_names(
    server: ScriptedTeacher, tmp_path: Path, wait: str
) -> None:
    server.script = lambda words, attempt: refusal(429, "slowly", f"retry-after: {wait}")
    with pytest.raises(EngineError, match=r"answered 429 \(slowly\).*0 answers are kept"):
        ask(teacher(server, tmp_path, concurrency=4, retries=1), 400)
    assert len(server.asked) <= 2 * 10 + 4


def test_a_rate_is_kept(server: ScriptedTeacher, tmp_path: Path) -> None:
    ask(teacher(server, tmp_path, requests_per_minute=1200), 21)
    assert server.times[-1] - server.times[0] >= 0.8
    server.times.clear()
    # A row has 12 + 2 * 8 estimated tokens and 200 of reply at most: what was not used is given back.
    server.script = lambda words, attempt: completion("fine?", (100, 100))
    ask(teacher(server, tmp_path / "tokens", tokens_per_minute=120_000, concurrency=1), 11)
    assert 0.8 <= server.times[-1] - server.times[0] <= 6


def test_what_is_alike_is_asked_once_and_what_differs_in_anything_that_counts_is_not(
    server: ScriptedTeacher, tmp_path: Path
) -> None:
    dialogue = rows(1)[0]
    asker = teacher(server, tmp_path)
    assert len(set(asker.answers([dialogue, dialogue], [5, 5]))) == 1
    assert len(server.asked) == 1
    asker.answers([dialogue], [6])
    asker.answers([dialogue], [5], TeacherStep("rewrite"))
    assert len(server.asked) == 3
    for same in ({"concurrency": 1}, {"key_variable": "OTHER"}, {"max_requests": 99}, {"retries": 0}, {"timeout": 9}):
        teacher(server, tmp_path, **same).answers([dialogue], [5])
    assert len(server.asked) == 3
    for other in ({"model": "n"}, {"temperature": 0}, {"max_tokens": 9}, {"address": f"{server.address}/"}):
        teacher(server, tmp_path, **other).answers([dialogue], [5])
    assert len(server.asked) == 7


def test_a_spoilt_line_of_the_journal_is_named(server: ScriptedTeacher, tmp_path: Path) -> None:
    ask(teacher(server, tmp_path))
    path = tmp_path / "answers.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\x00\x00\n", *lines[3:]]))
    with pytest.raises(DataError, match=r"answers\.jsonl:3"):
        teacher(server, tmp_path)


def test_a_reply_of_full_length_in_an_older_journal_may_be_cut_off_and_is_asked_again(
    server: ScriptedTeacher, tmp_path: Path
) -> None:
    server.script = lambda words, attempt: completion(f"Whole {words}", (40, 200 if words == BAD else 199))
    asker = teacher(server, tmp_path)
    ask(asker)
    # Whoever says why a reply ended is believed, even at its longest.
    ask(teacher(server, tmp_path))
    assert len(server.asked) == ROWS
    older = [{k: v for k, v in entry.items() if k not in ("finish_reason", "digest")} for entry in entries(tmp_path)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in older), encoding="utf-8")
    server.asked.clear()
    answers = ask(teacher(server, tmp_path))
    assert server.asked == [BAD]
    assert [answer.text for answer in answers] == [f"Whole {n}" for n in range(ROWS)]
    server.asked.clear()
    ask(teacher(server, tmp_path))
    assert server.asked == []


def test_looking_at_the_journal_changes_nothing(server: ScriptedTeacher, tmp_path: Path) -> None:
    ask(teacher(server, tmp_path))
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    cut = path.read_bytes()
    assert len(teacher(server, tmp_path).journal.known) == ROWS - 1
    assert path.read_bytes() == cut


BUDGETS = [
    ({"max_requests": 20}, 20, "20 of 20 requests are used"),
    # 40 and 5 tokens a reply; 8 and 2 x 8 estimated before, and 30 at most in reply.
    ({"max_tokens_total": 900, "max_tokens": 30}, 20, "of 900 tokens are used"),
    ({"max_cost": 0.0025, "prompt_price": 1, "reply_price": 10, "max_tokens": 10}, 27, "of 0.0025 is spent"),
]


@pytest.mark.parametrize(("knobs", "most", "words"), BUDGETS)
def test_a_budget_stops_cleanly_and_is_never_exceeded(
    server: ScriptedTeacher, tmp_path: Path, knobs: dict[str, Any], most: int, words: str
) -> None:
    asker = teacher(server, tmp_path, **knobs)
    answers = ask(asker, 60)
    answered = [answer for answer in answers if answer.text]
    assert most - 2 <= len(answered) == len(server.asked) <= most
    assert words in asker.stopped
    assert all(answer.error == asker.stopped for answer in answers if not answer.text)
    assert asker.budget.cost <= knobs.get("max_cost", 1)
    assert asker.budget.spent.tokens <= knobs.get("max_tokens_total", 1e9)
    # What was spent counts in the next run too; a higher bound goes on where it stopped.
    again = teacher(server, tmp_path, **knobs)
    assert again.summary()["requests"] == len(answered)
    assert [answer.text for answer in ask(again, 60)] == [answer.text for answer in answers]
    assert len(server.asked) <= most
    raised = {
        name: value * 100 if name.startswith("max_") and name != "max_tokens" else value
        for name, value in knobs.items()
    }
    assert all(answer.text for answer in ask(teacher(server, tmp_path, **raised), 60))
    assert sorted(server.asked) == sorted(str(n) for n in range(60))


def test_what_is_not_counted_by_the_server_is_estimated(server: ScriptedTeacher, tmp_path: Path) -> None:
    server.script = lambda words, attempt: completion("What is half of it?", None)
    asker = teacher(server, tmp_path)
    ask(asker, 1)
    assert 15 <= asker.budget.spent.prompt_tokens <= 30
    assert 4 <= asker.budget.spent.completion_tokens <= 8
    assert teacher(server, tmp_path).budget.spent == asker.budget.spent


def test_counting_asks_nothing_and_writes_nothing(server: ScriptedTeacher, tmp_path: Path) -> None:
    ask(teacher(server, tmp_path), 3)
    server.asked.clear()
    before = (tmp_path / "answers.jsonl").read_bytes()
    counting = CountingTeacher(config(server), tmp_path / "answers.jsonl")
    answers = ask(counting)
    ask(counting)
    assert server.asked == []
    assert (tmp_path / "answers.jsonl").read_bytes() == before
    assert (len(counting.asked), len(counting.answered)) == (ROWS - 3, 3)
    assert answers[0] == TeacherAnswer("What about 0?", "")
    assert len({answer.text for answer in answers}) == ROWS
    assert all(usage.completion_tokens == 200 for usage in counting.asked.values())


@pytest.mark.parametrize("field", ["address", "model"])
def test_an_endpoint_needs_its_address_and_model(server: ScriptedTeacher, tmp_path: Path, field: str) -> None:
    with pytest.raises(RecipeError, match=f"generate.teacher.{field}"):
        teacher(server, tmp_path, **{field: ""})


def test_money_needs_prices() -> None:
    with pytest.raises(ValueError, match="prompt_price"):
        TeacherConfig(max_cost=5)


def test_a_local_teacher_is_the_recipes_base_model_unless_another_is_named(tmp_path: Path) -> None:
    def chosen(**knobs: str) -> str:
        given = {"model": "embedded:base", "full_prompt": tmp_path, "teacher": {"kind": "local", **knobs}}
        return GenerateConfig.model_validate(given).teacher.model

    assert chosen() == "embedded:base"
    assert chosen(model="other") == "other"
    rules = {"full_prompt": tmp_path, "teacher": {"kind": "rules"}}
    one, two = (GenerateConfig.model_validate({**rules, "model": name}) for name in ("a", "b"))
    assert one.digest() == two.digest(), "a model that is not asked is no part of the configuration"


def test_a_local_teacher_answers_in_this_process(tiny_model: Path, tmp_path: Path) -> None:
    given = TeacherConfig(kind="local", model=str(soon_over(tiny_model, tmp_path)), max_tokens=12, temperature=0)
    asker = Teacher(given, tmp_path / "answers.jsonl")
    first = ask(asker, 40)
    cut_off = [answer for answer in first if "cut off at 12 tokens" in answer.error]
    assert all(answer.text or answer.error == EMPTY or answer in cut_off for answer in first)
    assert any(answer.text for answer in first)
    assert len(cut_off) == asker.summary()["cut_off"] > 0
    known = Teacher(given, tmp_path / "answers.jsonl")
    known.local = LocalTeacher(given.model, Picky())
    again = [answer.text for answer in ask(known, 40) if answer.text not in ("", "fine?")]
    assert again == [answer.text for answer in first if answer.text]


def soon_over(model: Path, folder: Path) -> Path:
    """Return a copy of a model of bytes that ends its turn at every eighth of them."""
    copy = shutil.copytree(model, folder / "soon-over")
    path = copy / "generation_config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "eos_token_id": list(range(0, 256, 8))}), encoding="utf-8")
    return copy


class Picky(Engine):
    """Answers all but one question, which ends the batch that it is in."""

    base = "picky"

    def models(self) -> list[str]:
        return [self.base]

    def complete(
        self,
        model: str,
        dialogues: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        if any(dialogue[-1].content == BAD for dialogue in dialogues):
            raise RuntimeError("index out of range")
        return [Reply("fine?", "stop", 20, 2) for _ in dialogues]


def test_a_row_that_the_local_model_cannot_take_is_alone(tiny_model: Path, tmp_path: Path) -> None:
    given = TeacherConfig(kind="local", model=str(tiny_model), max_tokens=6, max_requests=40)
    asker = Teacher(given, tmp_path / "answers.jsonl")
    asker.local = LocalTeacher(str(tiny_model), Picky())
    answers = ask(asker, 50)
    assert "index out of range" in answers[int(BAD)].error
    assert [answer.text for n, answer in enumerate(answers[:40]) if str(n) != BAD] == ["fine?"] * 39
    assert {answer.error for answer in answers[40:]} == {asker.stopped}
    assert "40 of 40 requests" in asker.stopped

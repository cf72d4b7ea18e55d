"""Masking of personal data. Real here: the phone number library, the shipped recipe's rows where they were made."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tuning_room.dataset.config import PII_KINDS, DatasetConfig, Pii
from tuning_room.dataset.pii import Masker, masking
from tuning_room.dataset.review import Review, RowDecision, content_key
from tuning_room.dataset.selection import select
from tuning_room.records import Candidate, Message

SEEDS = Path(__file__).parents[3] / "recipes" / "socratic-tutor"


def masked(text: str, **changes: object) -> str:
    return Masker(Pii.model_validate(changes)).text(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jo.doe+math@cs.example.edu, please.", "Write to [email], please."),
        ("JO@EXAMPLE.EDU and x_1@mail.example.co.uk", "[email] and [email]"),
        ("Call me at 415-555-2671!", "Call me at [phone]!"),
        ("My number is 4155552671.", "My number is [phone]."),
        ("phone: (415) 555-2671", "phone: [phone]"),
        ("I am Jo, 415.555.2671, room 12", "I am Jo, [phone], room 12"),
        ("7,415-555-2671,12", "7,[phone],12"),
        ("+49 30/901820 is mine", "[phone] is mine"),
        ("Call (415)/555-2671.", "Call [phone]."),
        ("+1 415 555 2671 is mine", "[phone] is mine"),
        ("Text +49 30 901820 or +44 20 7946 0958.", "Text [phone] or [phone]."),
        ("415-555-2671 - ask for Jo", "[phone] - ask for Jo"),
        ("My student ID is 20231234.", "My student ID is [student id]."),
        ("student number: ab-123456, thanks", "student number: [student id], thanks"),
        ("I'm U00123456 in this course", "I'm [student id] in this course"),
        ("Matriculation no. 1234567", "Matriculation no. [student id]"),
        ("jo@x.edu, 415-555-2671, student id 1234567", "[email], [phone], student id [student id]"),
    ],
)
def test_personal_data_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "What is 4155552671 / 3?",
        "What is 415-555-2671?",
        "415-555-2671 = ?",
        "415 - 555 - 2671",
        "Find the median of 415 555 2671.",
        "Compute (415) 555-2671",
        "12 + 415-555-2671",
        "Solve 4155552671 = x * 3.",
        "x +14155552671",
        "3 * (415)555-2671",
        "1,415,555,267 people and 2.671 per cent",
        "The train leaves on 2026-11-22 at 12:30:45.",
        "A student has 1234567 grains, 20 number cards and 5 ids.",
        "f(x) = x^2 @ 3, P(X<4) = 0.1234567",
        "S12345 is a part number; SHA 12345678",
        "sqrt(16) / 1000000 / 1",
        "(415)/584/196/1",
        "(415) x 7803.301, 1",
        "(415) \u2212 2000 \u2212 708542",
        "sqrt(16)-100-3000",
        "3.141-592-6535",
        "192.168.100.200 and 3.14159265358979",
    ],
)
def test_what_is_no_personal_data_is_left_alone(text: str) -> None:
    assert masked(text) == text


NUMBERS = st.one_of(
    st.integers(0, 10**12).map(str),
    st.integers(0, 10**9).map(lambda n: f"{n:,}"),
    st.decimals(0, 10**6, places=3, allow_nan=False).map(str),
    st.sampled_from(["212", "555", "2671", "4155552671", "(415)", "-7", "3/4", "1e6", "75%", "x", "2x", "sqrt(16)"]),
)
SIGNS = st.sampled_from(
    [" + ", " - ", "+", " * ", "*", " / ", "/", " x ", " = ", "=", "^", " < ", " \u00d7 ", " \u2212 ", ", "]
)
QUESTIONS = st.sampled_from(
    ["{}", "What is {}?", "Solve {}.", "Is {} right? I got 12.", "({}) = ?", "Compute {} please"]
)


@settings(max_examples=400)
@given(st.lists(st.tuples(NUMBERS, SIGNS), min_size=1, max_size=7), QUESTIONS)
def test_plain_arithmetic_is_left_alone(parts: list[tuple[str, str]], question: str) -> None:
    text = question.format("".join(number + sign for number, sign in parts) + "1")
    assert masked(text) == text


@given(st.text(max_size=60))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = masked(f"{text} jo@example.edu {text}")
    assert masked(once) == once and "example" not in once.replace(text, "")


@given(
    st.from_regex(r"[a-z][a-z0-9._]{0,12}@[a-z]{2,8}\.(edu|org|de)", fullmatch=True), st.sampled_from("\n .,;:<(\"'")
)
def test_an_address_is_found_whatever_is_around_it(address: str, mark: str) -> None:
    assert address not in masked(f"Write to{mark}{address}{mark} soon")


def candidate(name: str, *said: str) -> Candidate:
    messages = [Message(role="user", content=text) for text in said]
    return Candidate(id=name, source="test", group="ask jo@x.edu", gold="jo@x.edu", messages=messages)


def test_the_report_counts_and_names_no_value(tmp_path: Path) -> None:
    with masking(Pii(), tmp_path / "pii.json") as masks:
        first = masks.mask(candidate("a", "I am jo@x.edu", "or lee@x.edu, 415-555-2671"))
        plain = Candidate(id="b", source="test", group="b", messages=[Message(role="user", content="7 + 8?")])
        assert masks.mask(plain) == plain
    assert "@" not in first.model_dump_json() and first.gold == "[email]"
    written = (tmp_path / "pii.json").read_text(encoding="utf-8")
    assert json.loads(written) == {
        "rows": [{"id": "a", "email": 4, "phone": 1}],
        "counts": dict.fromkeys(PII_KINDS, 0) | {"email": 4, "phone": 1},
    }


def test_a_recipe_chooses_kinds_region_and_patterns() -> None:
    assert masked("jo@x.edu, 415-555-2671", kinds=["phone"]) == "jo@x.edu, [phone]"
    assert masked("jo@x.edu", kinds=[]) == "jo@x.edu"
    assert masked("Tel. 030 901820", region="DE") == "Tel. [phone]"
    assert masked("I am k12-b and k13-c", student_ids=[r"\bk\d\d-\w\b"]) == "I am [student id] and [student id]"
    assert masked("card k12", student_ids=[r"card (?P<id>k\d+)", r"k\d+"]) == "card [student id]"


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        Pii(student_ids=["(["])


def test_the_shipped_recipes_own_texts_are_left_alone() -> None:
    texts = [path.read_text(encoding="utf-8") for path in [*SEEDS.rglob("*.jsonl"), *SEEDS.rglob("*.yaml")]]
    assert len(texts) > 5
    assert [masked(text) for text in texts] == texts


def named(name: str, text: str, **fields: object) -> Candidate:
    said = [{"role": "user", "content": text}, {"role": "assistant", "content": "Which one?"}]
    return Candidate.model_validate({"id": name, "source": f"seeds:{name}", "group": name, "messages": said} | fields)


def masked_rows(folder: Path, *candidates: Candidate) -> list[Candidate]:
    with masking(Pii(), folder / "pii.json") as masks:
        return [masks.mask(one) for one in candidates]


def test_names_and_labels_are_masked_and_names_stay_apart(tmp_path: Path) -> None:
    traits = {"mail of jo@example.org": "jo@example.org"}
    given = [
        named("jo@example.org", "One?", topic="of jo@example.org", situation="415-555-2671", traits=traits),
        named("lee@example.org", "Two?"),
        named("+49 30 23125 042/1", "Three?"),
    ]
    rows = masked_rows(tmp_path, *given)
    written = (tmp_path / "pii.json").read_text(encoding="utf-8") + "".join(row.model_dump_json() for row in rows)
    assert not any(value in written for value in ("example", "555", "23125"))
    assert len({row.id for row in rows}) == len({row.group for row in rows}) == 3
    assert rows[0].id == rows[0].group and rows[0].id.startswith("[email]-")
    assert (rows[0].topic, rows[0].situation) == ("of [email]", "[phone]")
    assert rows[0].traits == {"mail of [email]": "[email]"}
    assert [row["id"] for row in json.loads((tmp_path / "pii.json").read_text())["rows"]] == [row.id for row in rows]


def test_a_masked_name_is_the_same_wherever_it_stands_and_in_every_run(tmp_path: Path) -> None:
    given = [named("jo@example.org", "One?"), named("lee@example.org", "Two?")]
    there, back = masked_rows(tmp_path, *given), masked_rows(tmp_path, *reversed(given))
    assert [row.id for row in there] == [row.id for row in reversed(back)]
    again = masked_rows(tmp_path, given[0], named("b", "Three?", group="jo@example.org"))
    assert again[1].group == again[0].id == there[0].id


def test_a_masked_name_says_nothing_of_what_it_was(tmp_path: Path) -> None:
    # By a digest of the name, whoever tries all numbers would find it.
    first, second = (
        masked_rows(tmp_path, named("415-555-2671", "One?")),
        masked_rows(tmp_path, named("415-555-0132", "One?")),
    )
    assert first == second


def test_two_persons_with_one_dialogue_stay_apart(tmp_path: Path) -> None:
    rows = masked_rows(tmp_path, *[named(f"person{n}@example.org", "One?") for n in range(4)])
    assert len({row.id for row in rows}) == 4


def test_what_people_made_of_a_row_is_masked_too(tmp_path: Path) -> None:
    row, path = named("a", "One?"), tmp_path / "review.jsonl"
    edited = [Message(role="user", content="One?"), Message(role="assistant", content="Ask jo@example.org?")]
    Review(path).decide(RowDecision(key=content_key(row.messages), decision="edit", id="a", messages=edited))
    config = DatasetConfig(recipe="r", short_prompt="s", review=path)
    with masking(config.pii, tmp_path / "pii.json") as masks:
        selected = list(select(map(masks.mask, [row]), [], config, tmp_path, masks.again))
    assert selected[0].candidate.messages[1].content == "Ask [email]?"


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("user_415-555-2671_open", "user_[phone]_open"),
        ("mail_of_kim_lee@example.org", "[email]"),
        ("notes of kim.lee@example.org.pdf#3", "notes of [email]#3"),
        ("https://example.org/?to=kim%40example.org", "https://example.org/?to=[email]"),
        ("tel-4155552671", "tel-[phone]"),
        ("wb-0001:2026-11-28_12-30-45", ""),
        ("problem_1234567_of_9999999", ""),
        ("3f2a8c1e-9d4b-4c1a-8f00-1234567890ab", ""),
    ],
)
def test_a_name_of_a_file_or_row_is_read_like_its_words(name: str, masked: str, tmp_path: Path) -> None:
    row = masked_rows(tmp_path, named(name, "One?"))[0]
    assert re.sub(r"-[0-9a-f]{8}$", "", row.id) == (masked or name) if masked else row.id == name

"""Personal data by kind and region. Real: phonenumbers, python-stdnum, and labelled texts (docs/languages.md)."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import phonenumbers
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuning_room.checks.languages import READS
from tuning_room.dataset import accounts, cues
from tuning_room.dataset.config import PII_KINDS, Pii
from tuning_room.dataset.phones import as_ascii
from tuning_room.dataset.pii import Masker

LABELLED = Path(__file__).parent / "labelled"


class Counts(NamedTuple):
    """Values that were found and missed, and what was taken for one and is none."""

    found: int = 0
    missed: int = 0
    false: int = 0


def values_in(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a labelled text without its brackets, and where the values stand."""
    plain, spans, at = "", [], 0
    for match in re.finditer("⟦(.*?)⟧", text):
        plain += text[at : match.start()]
        spans.append((len(plain), len(plain) + len(match[1])))
        plain += match[1]
        at = match.end()
    return plain + text[at:], spans


def read(text: str, region: str) -> Counts:
    plain, wanted = values_in(text)
    got = Masker(Pii(region=region)).spans(plain)
    hit = [one for one in wanted if any(span.start <= one[0] and one[1] <= span.end for span in got)]
    false = [span for span in got if not any(span.start < end and start < span.end for start, end in wanted)]
    return Counts(len(hit), len(wanted) - len(hit), len(false))


def measured(name: str, by: str) -> dict[str, Counts]:
    totals: dict[str, Counter[str]] = {}
    for row in map(json.loads, (LABELLED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()):
        totals.setdefault(row[by], Counter()).update(read(row["text"], row["region"])._asdict())
    return {key: Counts(**counts) for key, counts in totals.items()}


def test_the_labelled_texts_are_read_as_the_docs_say() -> None:
    assert measured("pii", "kind") == {
        "phone": Counts(144), "email": Counts(27), "national_id": Counts(39), "iban": Counts(12),
        "student_id": Counts(10), "card": Counts(6), "ip": Counts(6),
    }  # fmt: skip
    assert len(measured("pii", "region")) == 43


def test_the_second_texts_are_read_as_the_docs_say() -> None:
    counts = measured("pii_second", "kind")
    assert counts["phone"] == Counts(46, 1, 0)
    assert Counts(*map(sum, zip(*counts.values(), strict=True))) == Counts(57, 1, 2)


def test_a_third_of_the_labelled_texts_is_harmless() -> None:
    texts = [json.loads(line)["text"] for line in (LABELLED / "pii.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(texts) >= 300 and len(texts) / 3 < sum("⟦" not in text for text in texts)


def examples() -> list[tuple[str, str]]:
    """Return an example of a mobile or other number of every region that the library knows, as dialled there."""
    found = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(region, kind)
            style = phonenumbers.PhoneNumberFormat.NATIONAL
            if number and len(str(number.national_number)) > 6:
                found.append((region, phonenumbers.format_number(number, style)))
    return found


EXAMPLES = examples()
SEPARATORS = ["\u00a0", "\u202f", "\u2009", " ", "-", "\u2011", "\u2013"]


def test_every_region_has_examples() -> None:
    assert len({region for region, _ in EXAMPLES}) > 200


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(EXAMPLES),
    st.sampled_from(["Tel. ", "Call me at ", "Mon numéro est le ", "Meine Nummer ist ", "电话:", "هاتف: ", "тел. "]),
    st.sampled_from(SEPARATORS),
)
def test_a_number_of_any_region_is_found_behind_a_cue(example: tuple[str, str], cue: str, separator: str) -> None:
    region, number = example
    written = number.replace(" ", separator)
    assert Masker(Pii(region=region)).text(f"{cue}{written}!")[0] == f"{cue}[phone]!"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EXAMPLES), st.sampled_from(["+", "00"]), st.sampled_from(SEPARATORS))
def test_a_number_with_a_country_code_is_found_from_anywhere(
    example: tuple[str, str], prefix: str, separator: str
) -> None:
    region, number = example
    parsed = phonenumbers.parse(number, region)
    assume(phonenumbers.is_valid_number(parsed))
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    written = written.replace("+", prefix).replace(" ", separator)
    assert "[phone]" in Masker(Pii(region="DE")).text(f"Tel.: {written}.")[0]


@given(st.text(max_size=80))
def test_signs_keep_their_places(text: str) -> None:
    assert len(as_ascii(text)) == len(text)


@settings(deadline=None)
@given(st.text(max_size=80), st.sampled_from(["US", "FR", "DE", "RU", "IN", "GB"]))
def test_any_text_can_be_masked_and_masking_again_changes_nothing(text: str, region: str) -> None:
    masker = Masker(Pii(region=region))
    once = masker.text(text)[0]
    assert masker.text(once)[0] == once


@given(st.integers(0, 10**8), st.sampled_from("aeknrs"))
def test_an_account_with_a_wrong_digit_is_none(number: int, letter: str) -> None:
    account = f"DE{(98 - int(f'37040044{number:010d}131400') % 97):02d}37040044{number:010d}"
    assert Masker(Pii()).text(f"to {account}, please")[0] == "to [iban], please"
    wrong = f"{account[:-1]}{(int(account[-1]) + 1) % 10}"
    assert "[iban]" not in Masker(Pii()).text(f"to {wrong} {letter}")[0]


def test_regions_and_languages_of_the_tables_exist() -> None:
    assert accounts.regions() <= set(phonenumbers.SUPPORTED_REGIONS)
    assert READS["dataset.pii"] == cues.languages() | {"nb", "nn"}
    for region in accounts.regions():
        assert Masker(Pii(region=region)).text("what is 12 345 678 + 9?")[0] == "what is 12 345 678 + 9?"


def test_kinds_that_are_not_asked_for_are_left() -> None:
    text = "jo@example.org, DE89 3704 0044 0532 0130 00, 203.0.113.9, SSN 123-45-6789"
    assert Masker(Pii(kinds=["ip"])).text(text)[0] == text.replace("203.0.113.9", "[ip]")
    assert set(Masker(Pii()).text(text)[1]) <= set(PII_KINDS)


@pytest.mark.parametrize(("region", "hint"), [("UK", "'GB' is"), ("de", "'DE' is"), ("XX", "no country")])
def test_a_region_that_is_not_known_is_refused(region: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        Pii(region=region)

"""What a word is, in every script. Real: all of it; drawn texts are of the scripts named here."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.words import count, folded, runs, without_accents, words

# Words as people write them, by script.
SAMPLES = (
    "Straße groß ÉTÉ naïve fiancé Œuvre İzmir ışık Việt đường "  # Latin
    "Число ёлка Їжак ΒΙΒΛΊΟ φως Ἀθῆναι Հայերեն ქართული "  # Cyrillic, Greek, Armenian, Georgian
    "שָׁלוֹם ספר كِتاب مدرسة می‌خواهم گھر "  # Hebrew, Arabic
    "दिन दान हिन्दी বাংলা ਪੰਜਾਬੀ ગુજરાતી தமிழ் తెలుగు ಕನ್ನಡ മലയാളം සිංහල "  # of India and Sri Lanka
    "ภาษาไทย ລາວ ខ្មែរ မြန်မာ བོད་ཡིག 中文 漢字 ひらがな カタカナ ガラス 한국어 አማርኛ ꦗꦮ"  # further east, and Ethiopia
).split()
TEXTS = st.lists(st.sampled_from([*SAMPLES, "12", "3.5", "+", "why", "don't", "٣٥", "१२"]), max_size=12).map(" ".join)
HIDDEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\ufe0f"


def full_width(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" and sign not in "'\"`" else sign for sign in text)


@given(TEXTS, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_a_normal_form_changes_no_word(text: str, form: str) -> None:
    assert words(unicodedata.normalize(form, text)) == words(text)  # type: ignore[arg-type]


@given(TEXTS)
def test_capitals_and_full_width_change_no_word(text: str) -> None:
    for changed in (text.upper(), text.lower(), text.casefold(), text.title(), full_width(text)):
        assert words(changed) == words(text)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 200), st.sampled_from(HIDDEN)), max_size=8))
def test_signs_without_width_change_no_word(text: str, hidden: list[tuple[int, str]]) -> None:
    changed = text
    for place, sign in hidden:
        at = place % (len(changed) + 1)
        changed = changed[:at] + sign + changed[at:]
    assert words(changed) == words(text)


@given(st.text(max_size=60))
def test_any_text_has_words_and_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    found = words(text)
    assert all(found) and count(found) <= len(found)
    assert words(" ".join(found)) == found


@given(TEXTS, TEXTS)
def test_the_words_of_two_texts_are_those_of_both(one: str, other: str) -> None:
    assert words(f"{one} {other}") == words(one) + words(other)


@pytest.mark.parametrize("word", SAMPLES)
def test_no_mark_is_lost_and_none_splits_a_word(word: str) -> None:
    found = words(word)
    letters = [sign for sign in folded(word) if unicodedata.category(sign)[0] in "LM"]
    assert "".join(found) == "".join(letters)
    assert not any(unicodedata.category(one[0])[0] == "M" for one in found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("दिन", "दान"),  # Devanagari
        ("কলা", "কালো"),  # Bengali
        ("பல்", "பால்"),  # Tamil
        ("ป่า", "ป้า"),  # Thai: the tones
        ("はは", "ばば"),
        ("resume", "résumé"),
        ("3²", "32"),
        ("½", "12"),
        ("ο", "ό"),
    ],
)
def test_what_differs_by_a_mark_is_another_word(one: str, other: str) -> None:
    assert words(one) != words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GROSSE STRASSE", "große Straße"),
        ("ISPARTA ışık İZMİR", "ısparta IŞIK izmir"),
        ("ΟΔΌΣ", "οδός"),
        ("ﬁnal ﬂow", "final flow"),
        ("don’t", "don't"),
        ("x² + ½", "x^2 + 1/2"),
        ("٣٥ و ۱۲", "35 و 12"),
        ("7 × 8 − 2 ÷ 1", "7 * 8 - 2 / 1"),
        ("العـــربية", "العربية"),
        ("ｶﾞﾗｽ", "ガラス"),
        ("𝐛𝐨𝐥𝐝 𝒾𝓉", "bold it"),
    ],
)
def test_what_only_looks_different_is_the_same(one: str, other: str) -> None:
    assert words(one) == words(other)


def test_a_script_without_spaces_has_a_word_a_letter_that_weighs_less() -> None:
    assert words("三角形ABC的角") == ["三", "角", "形", "abc", "的", "角"]
    assert (count(words("三角形的内角和")), count(words("ฉันชอบกินข้าว")), count(words("a b c"))) == (4, 3, 3)


def test_a_run_is_as_long_as_its_words_weigh() -> None:
    assert list(runs("a b c d".split(), 3)) == [(0, "a b c"), (1, "b c d")]
    assert list(runs("a b".split(), 3)) == []
    found = words("天地玄黄宇宙 x")
    assert [(place, len(run.split())) for place, run in runs(found, 3)] == [(0, 6), (1, 6), (2, 5)]
    assert next(runs(found, 1)) == (0, "天 地")


def test_accents_are_left_out_where_people_leave_them_out() -> None:
    assert without_accents(words("ÉTÉ Ὀδός كِتاب שָׁלוֹם दिन")) == ["ete", "οδοσ", "كتاب", "שלום", "दिन"]


@pytest.mark.parametrize("sign", [".", "'", "^", "-", "a'", "é"])
def test_a_long_row_of_signs_costs_no_time(sign: str) -> None:
    found = words(sign * 100_000 + " end", joined="_'%^.", alone="")
    assert found[-1] == "end"

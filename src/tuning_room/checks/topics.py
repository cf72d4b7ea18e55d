"""What a text is about, as far as a rule can tell: its numbers, symbols and content words, in every script."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import regex

from tuning_room.words import folded, is_one_letter, without_accents, words

_DIGITS = re.compile(r"\d{1,99}(?:\.\d{1,99})?")
_SYMBOL = re.compile(r"\d*[a-z]\^?\d+|\d+[a-z]\b")
# Short words are mostly function words; in capitals they are names of things: VPN, PC.
_SHORT_NAME = re.compile(r"(?<![A-Za-z0-9_])[A-Z]{2,3}(?=s?(?![A-Za-z0-9_]))")
_ARTICLE = re.compile(r"^[\u0648\u0641\u0628\u0643\u0644]?\u0627\u0644(?=\w{3})")
_CASED = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Armenian}]+")
_HANGUL = regex.compile(r"\p{Hangul}+")
# Two signs of which the second is no particle, so that they may be a word or the stem of one.
_PAIR = regex.compile(r"\p{Han}{2}|[\p{Katakana}\u30fc]{2}|\p{Han}[\p{Hiragana}--[はがをにでともの]]", regex.V1)
_SYLLABLES = 4  # in a row that are about a word, in scripts without spaces whose signs are no words
_STOP = set(
    "about after again also another answer because before both could does done down each even every first from give "
    "given good have help here into just know known let like look make many more most much need next only other over "
    "please question result right same should show solve some step take tell than that them then there these they "
    "thing think this those through time what when where which while will with work would write wrong your".split()
) | set(
    "什么 怎么 怎样 这样 那样 可以 我们 你们 他们 一个 这个 那个 哪个 几个 多少 如果 "
    "因为 所以 但是 就是 不是 是不 没有 一下 一步 第一 一想 想想 知道 自己 现在 时候 "
    "应该 需要 不能 能不 告诉 请问 谢谢 老师 觉得 开始 是什 问题 答案 我想 你想 你能 "
    "我能".split()
)


def off_topic(reply: str, said: str) -> bool:
    """Say whether a reply shares no number, no symbol such as 3x and no stem of a content word with the user's text."""
    return _topics(reply).isdisjoint(_topics(said))


def _topics(text: str) -> set[str]:
    small = folded(text)
    names = _SHORT_NAME.findall(text)
    return {*_content(without_accents(words(text))), *names, *_DIGITS.findall(small), *_SYMBOL.findall(small)}


def _content(found: Sequence[str]) -> Iterator[str]:
    for spaceless, together in groupby(found, is_one_letter):
        if spaceless:
            yield from _in_a_row(list(together))
        else:
            yield from (stem for word in together if word not in _STOP and (stem := _stem(word)))


def _in_a_row(letters: Sequence[str]) -> Iterator[str]:
    text = "".join(letters)
    yield from (pair for pair in _PAIR.findall(text, overlapped=True) if pair not in _STOP)
    if not _PAIR.search(text):
        yield from ("".join(letters[at : at + _SYLLABLES]) for at in range(len(letters) - _SYLLABLES + 1))


def _stem(word: str) -> str:
    """Return the beginning of a word, by which its forms are known; '' for one too short to be about anything."""
    if _HANGUL.fullmatch(word):
        return word[:2] if len(word) > 1 else ""
    if _CASED.match(word):
        return word[:5] if len(word) > 3 else ""
    word = _ARTICLE.sub("", word)
    return word[:4] if len(word) > 3 and not word[0].isdigit() else ""

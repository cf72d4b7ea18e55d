"""A prompt taken apart: its headings, list items and sentences, each with its place, whatever the language."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from tuning_room.requirements.reading import Place

_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+(?P<title>.*\S)\s*")
_RULE = re.compile(r"\s*(?:[-*_=]\s*){3,}")
_TAG = re.compile(r"\s*<(?P<close>/?)(?P<name>[\w-]+)(?:\s[^<>]*)?>\s*")
_BOLD = re.compile(r"\s*(?:\*\*|__)(?P<title>[^*_]+?)[:：]?(?:\*\*|__)[:：]?\s*")
_BRACKETS = re.compile(r"\s*(?:\[(?P<title>[^\[\]]{2,40})\]|【(?P<wide>[^【】]{1,40})】)\s*")
_ITEM = re.compile(r"\s*(?:[-*+•‣◦–—·・]|\(?(?:\d{1,3}|[a-z])[.)])\s+|\s*(?:\d{1,3}[、．]|（\d{1,3}）|[①-⑳・•])\s*")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_EXAMPLES = re.compile(
    r"\bexamples?\b|\bsample (?:dialog|conversation|repl|answer)|\bfew.?shots?\b|beispiel|\bexemples?\b|\bejemplos?\b"
    r"|\besemp|\bexemplos?\b|\bvoorbeeld|пример|例|示例|范例|예시|예제|مثال|أمثلة|उदाहरण",
    re.IGNORECASE,
)
_SPEAKER = re.compile(
    r"\s*(?:[-*+]\s+)?(?:\*\*|__)?(?:user|assistant|human|ai|bot|student|customer|client|agent|caller|guest|patient|"
    r"nutzer(?:in)?|benutzer(?:in)?|kund(?:e|in)|assistent(?:in)?|utilisateur|cliente?|usuari[oa]|asistente|"
    r"用户|用戶|助手|客户|ユーザー|アシスタント|المستخدم|المساعد|العميل)(?:\*\*|__)?\s*[:：]",
    re.IGNORECASE,
)
# Marks that end a sentence. Those of Latin scripts need a space after them: "7.5" and "example.org" are no two.
_END = re.compile(
    r"[.!?…؟۔।॥]+[\"'”’»)\]*_]*(?=\s)|[。！？｡]+[”’」』）)\]*_]*|[؟।॥][”»)]*",
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|dr|mrs?|ms|prof|st|no|nr|z\.\s?b|d\.\s?h|u\.\s?a|bzw|ca|usw|evtl|ggf|inkl|max|"
    r"min|p\.\s?ex|ej|sr|sra|tel)|\b[A-Za-z])\.$",
    re.IGNORECASE,
)
_LINE_END = re.compile(r"^.{1,60}(?<![,;:\s])$(?=\n\s*[^\W\d_a-z])", re.MULTILINE)
_LONGEST_TITLE = 6  # words of a line that ends with a colon and still is a heading


class PromptPassage(NamedTuple):
    """A heading, or a sentence of a list item or of running text, with its place in the prompt.

    `block` numbers the list item or paragraph that it stands in; `heading` is the title above it.
    """

    text: str
    place: Place
    kind: Literal["heading", "item", "sentence"]
    heading: str
    block: int
    is_example: bool

    @property
    def asks(self) -> bool:
        """Return whether it can ask for anything: it is no heading, no example, and has letters."""
        return self.kind != "heading" and not self.is_example and any(map(str.isalpha, self.text))


class _Line(NamedTuple):
    text: str
    begin: int


class _Stretch(NamedTuple):
    kind: Literal["heading", "item", "sentence"]
    place: Place
    is_example: bool


def passages(prompt: str) -> list[PromptPassage]:
    """Return a prompt's headings and sentences in order; any text can be taken apart.

    >>> [(found.kind, found.text) for found in passages("# Style\\n- Be kind. Ask.\\n\\nNever lie!")]
    [('heading', 'Style'), ('item', 'Be kind.'), ('item', 'Ask.'), ('sentence', 'Never lie!')]
    """
    found, heading = [], ""
    for number, block in enumerate(_blocks(prompt)):
        if block.kind == "heading":
            heading = prompt[slice(*block.place)]
            found.append(PromptPassage(heading, block.place, "heading", "", number, block.is_example))
            continue
        for place in _sentences(prompt, block.place):
            text = prompt[slice(*place)]
            found.append(PromptPassage(text, place, block.kind, heading, number, block.is_example))
    return found


def _lines(prompt: str) -> Iterator[_Line]:
    begin = 0
    for line in prompt.splitlines(keepends=True):
        yield _Line(line, begin)
        begin += len(line)


class _Reader:
    """Goes through the lines of a prompt, and knows whether it is among examples."""

    def __init__(self, prompt: str) -> None:
        self.lines = list(_lines(prompt))
        self.fenced = self.speaking = False
        self.example_level = 0  # of the heading that began the examples; 7 for a heading without a level
        self.example_tag = ""

    @property
    def is_example(self) -> bool:
        return self.fenced or self.speaking or bool(self.example_level) or bool(self.example_tag)

    def blocks(self) -> Iterator[_Stretch]:
        """Yield headings, list items and paragraphs."""
        part: list[_Line] = []
        for number, line in enumerate(self.lines):
            if _FENCE.match(line.text):
                yield from self._closed(part)
                self.fenced, part = not self.fenced, []
            elif not line.text.strip() or (not self.fenced and _RULE.fullmatch(line.text)):
                yield from self._closed(part)
                self.speaking, part = False, []
            elif not self.fenced and (tag := _TAG.fullmatch(line.text)):
                yield from self._closed(part)
                self._open_or_close(tag["name"], bool(tag["close"]))
                part = []
            elif not self.fenced and (title := self._title(number)):
                yield from self._closed(part)
                part = []
                yield self._heading(line, *title)
            else:
                if _ITEM.match(line.text) or (_SPEAKER.match(line.text) and not self.fenced):
                    yield from self._closed(part)
                    part = []
                self.speaking = self.speaking or bool(_SPEAKER.match(line.text))
                part.append(line)
        yield from self._closed(part)

    def _closed(self, part: list[_Line]) -> Iterator[_Stretch]:
        if not part:
            return
        item = _ITEM.match(part[0].text)
        begin, end = part[0].begin + (item.end() if item else 0), part[-1].begin + len(part[-1].text)
        yield _Stretch("item" if item else "sentence", Place(begin, max(begin, end)), self.is_example)

    def _open_or_close(self, name: str, closes: bool) -> None:
        if closes and name == self.example_tag:
            self.example_tag = ""
        elif not closes and not self.example_tag and _EXAMPLES.search(name.replace("_", " ")):
            self.example_tag = name

    def _title(self, number: int) -> tuple[str, int] | None:
        """Return a line's title and level if it is a heading, 7 for one that has no level."""
        text = self.lines[number].text
        if found := _HEADING.fullmatch(text):
            return found["title"], len(found[1])
        if found := _BOLD.fullmatch(text):
            return found["title"].strip(), 7
        if found := _BRACKETS.fullmatch(text):
            return (found["title"] or found["wide"]).strip(), 7
        title = text.strip()
        ends = title.endswith((":", "：")) and len(title.split()) <= _LONGEST_TITLE and len(title) <= 60
        if ends and not _ITEM.match(text) and not _SPEAKER.match(text):
            return (title, 7) if _EXAMPLES.search(title) or self._opens_a_list(number) else None
        return None

    def _opens_a_list(self, number: int) -> bool:
        following = next((line.text for line in self.lines[number + 1 :] if line.text.strip()), "")
        return bool(_ITEM.match(following)) and (number == 0 or not self.lines[number - 1].text.strip())

    def _heading(self, line: _Line, title: str, level: int) -> _Stretch:
        self.speaking = False
        if not self.example_level or level <= self.example_level:
            self.example_level = level if _EXAMPLES.search(title) else 0
        begin = line.begin + line.text.index(title)
        return _Stretch("heading", Place(begin, begin + len(title)), self.is_example)


def _blocks(prompt: str) -> Iterator[_Stretch]:
    return _Reader(prompt).blocks()


def _sentences(prompt: str, place: Place) -> Iterator[Place]:
    text, begin = prompt[slice(*place)], 0
    ends = {found.end() for found in _END.finditer(text) if not _goes_on(text, found)}
    # A line that is too short to have been wrapped was ended on purpose.
    ends |= {found.end() for found in _LINE_END.finditer(text)}
    for end in sorted({*ends, len(text)}):
        sentence = text[begin:end]
        if stripped := sentence.strip():
            start = place.begin + begin + sentence.index(stripped)
            yield Place(start, start + len(stripped))
        begin = end


def _goes_on(text: str, end: "re.Match[str]") -> bool:
    """Return whether a mark ends no sentence: it is of an abbreviation, or a small letter follows."""
    if not end.group().startswith("."):
        return False
    following = text[end.end() : end.end() + 40].lstrip()
    return following[:1].islower() or bool(_ABBREVIATION.search(text[max(0, end.end() - 12) : end.end()]))

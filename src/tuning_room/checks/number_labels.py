"""What has digits and is no number: dates, times, versions, addresses, labels, names, ranges, the marks of a list."""

import re

_LABELS = (
    r"steps?|question|exercise|problem|page|chapter|section|figure|table|version|slide|lesson|unit|room|task|hint|"
    r"example|schritt|aufgabe|frage|seite|kapitel|exercice|\u00e9tape|chapitre|paso|ejercicio|p\u00e1gina|cap\u00edtulo"
)
# What is known by its number, as long as nothing is measured or compared there.
_KNOWN_BY_NUMBER = (
    r"grade|class|klasse|year group|line|bus|tram|route|gate|platform|channel|highway|locker|apollo|formula|"
    r"windows|xbox|iphone|ipad|android|playstation|python|java|ios|rfc|iso|din|isbn|(?<=\w\s)no\.|nr\.|n\u00ba|"
    r"\u2116|pp?\.|linie|gleis|zimmer|hausnummer|ligne|salle|quai|num\u00e9ro|l\u00ednea|aula|sala|and\u00e9n|binario|"
    r"\u043d\u043e\u043c\u0435\u0440|\u043a\u043b\u0430\u0441\u0441|\u0441\u0442\u0440\u0430\u043d\u0438\u0446\u0430"
)
_MONTHS = (
    r"january|february|(?-i:March)|april|(?-i:May)|june|july|august|september|october|november|december|jan|feb|"
    r"(?-i:Mar)|apr|jun|jul|aug|sept?|oct|nov|(?-i:Dec)|januar|februar|m\u00e4rz|mai|juni|juli|oktober|dezember|janvier|"
    r"f\u00e9vrier|mars|avril|juin|juillet|ao\u00fbt|septembre|octobre|novembre|d\u00e9cembre|enero|febrero|marzo|abril|mayo|"
    r"junio|julio|agosto|septiembre|octubre|noviembre|diciembre"
)
_STREETS = r"street|st\.|road|rd\.|avenue|ave\.?|lane|drive|square|boulevard|crescent|terrace"
_MEASURES = r"(?!\s?(?:[%=+*/^\u00d7\u00b0]|(?:cm|mm|km|m|kg|g|in|ft|inches|metres|meters|units|is|or|and)\b)|\.\d|,\d)"
_ADDRESSES = r"(?:https?://|www\.)\S+"
_DATES = (
    r"\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}(?P<dot>[/.])\d{1,2}(?P=dot)(?:\d{4}|\d{2})\b"
    rf"|(?<![\d.,/])\b\d{{1,2}}\.?\s(?:of\s|de\s)?(?:{_MONTHS})\b\.?(?:,?\s\d{{4}}\b)?"
    rf"|\b(?:{_MONTHS})\.?\s\d{{1,2}}\b(?:,?\s\d{{4}}\b)?(?!\s?[%=+*/^\u00d7]|\.\d)"
    r"|\b\d{1,4}\s?(?-i:BCE?|AD|CE)\b|\b(?-i:AD)\s\d{1,4}\b"
)
_TIMES = (
    r"\b\d{1,2}:[0-5]\d(?::[0-5]\d)?\b|\b\d{1,2}[.h][0-5]\d\s?(?:am|pm|a\.m|p\.m|uhr|o'clock)\b"
    r"|\b(?:1[0-2]|[1-9])\s?(?:am\b|pm\b|a\.m\.|p\.m\.)"
)
_VERSIONS = r"(?<![\d.])(?!\d{1,3}(?:\.\d{3})+\b)\d{1,4}(?:\.\d{1,4}){2,9}(?![\d,])"
_PHONES = r"\b\d{3}-\d{4}\b|\+\d[\d\s()-]{6,20}\d|\b(?:call|dial)\s\d{3}\b"
_LABELLED = (
    r"(?<!this )(?<!that )(?<!last )(?<!next )(?<!each )(?<!first )(?<!one )"
    rf"\b(?:{_LABELS})\s\d{{1,4}}(?:\.\d{{1,3}})*\b(?!\s?[%=+*/,^\u00d7]|\.\d)"
    rf"|(?<!the )(?<!each )(?<!\w)(?:{_KNOWN_BY_NUMBER})\s?(?<![a-z])\d{{1,4}}(?:-\d{{1,5}}){{0,4}}[A-Z]?\b{_MEASURES}"
    r"|(?<!\w)the (?:class|bus|gate|platform|route|rfc|iso|isbn|xbox|iphone)\s\d{1,4}(?:-\d{1,5}){0,4}\b"
    rf"{_MEASURES}|\b(?:page|sheet|part|slide|seite)\s\d{{1,3}}\s?(?:/|of|von)\s?\d{{1,3}}\b|(?<!\w)#\d{{1,4}}\b"
)
_NAMES = (
    r"\b\d{1,6}(?:st|nd|rd|th)\b|\b[a-z]{2,20}-\d{1,6}\b|\b(?-i:[A-Z]{1,2})-\d{1,4}\b(?!\s?[=+*/^])"
    rf"|\b\d{{1,5}}\s(?-i:[A-Z])\w{{1,20}}\s(?:{_STREETS})\b|\b\d{{1,4}}-(?-i:[A-Z])[a-z]{{2,20}}\b|\b\d{{1,3}}-bits?\b"
)
_NO_NUMBERS = re.compile(
    "|".join((_ADDRESSES, _DATES, _TIMES, _VERSIONS, _PHONES, _LABELLED, _NAMES)),
    re.IGNORECASE,
)
_MARKER = re.compile(r"^[ \t]*(?:[-*][ \t]+)?(?:\*\*)?\d{1,2}[.)](?=\s+\S)", re.MULTILINE)
# 10-12 and not 12-10, which subtracts.
_RANGE = re.compile(
    r"(?<![\w.,=+*/^()\u00d7\u00b7-])"
    r"(?<![=+*/\u00d7\u00b7(-]\s)(\d{1,4})"
    r"[-\u2010-\u2013](\d{1,4})(?![\w(/*^%]|[-\u2013.,:/]\d|\s?[=+*/^\u00d7])"
)


def without_labels(text: str) -> str:
    """Return a text without what has digits and is no number: dates, times, versions, addresses, labels, list marks.

    >>> without_labels("Step 2: is it 12 on 27/11/2026?"), without_labels("1. Read.\\\\n2. Draw 12.")
    (' : is it 12 on  ?', '1. Read.\\\\n2. Draw 12.')
    """
    if len(_MARKER.findall(text)) > 1:
        text = _MARKER.sub(" ", text)
    return _RANGE.sub(_without_range, _NO_NUMBERS.sub(" ", text))


def _without_range(match: re.Match[str]) -> str:
    # In digits of another script as well.
    return " " if int(match[1]) < int(match[2]) else match.group()

"""What the words of a sentence suggest: of which kind a requirement is, and which metrics and checks could test it."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tuning_room.requirements.languages import READ, depends, forbids
from tuning_room.requirements.passages import passages
from tuning_room.requirements.records import Kind

_PLACEHOLDER = re.compile(r"\{\{?\s*[\w.]+\s*\}?\}|\$\{\w+\}|<<?[A-Z_]{3,}>?>|\[\[?[A-Z_]{4,}\]?\]")
_FACT = re.compile(
    r"https?://|www\.\w|(?<![\w.+-])[\w.+-]{1,64}@\w+\.\w{2,}|\b\d{4}-\d\d-\d\d\b|\b\d{1,2}\.\s?\d{1,2}\.\s?\d{4}\b"
    r"|[€$£¥]\s?\d|\d\s?(?:[€£¥]|EUR|USD|CHF|GBP|euros?\b|dollars?\b)"
    r"|\b\d{1,2}(?:[:.h]\d\d)?\s?(?:am|pm|uhr|a\.m\.|p\.m\.)|\b\d{1,2}[:h]\d\d\b"
    r"|\b(?:tel|phone|telefon|téléphone|teléfono)\b\D{0,10}\d|(?<!\d)\+?\d{2,4}[ /-]\d{3,}[ /-]?\d{2,}",
    re.IGNORECASE,
)
_FACT_WORD = re.compile(
    r"\b(?:opening hours|prices?|fees? (?:is|are)|is located|öffnungszeiten|preise?|gebühren|horaires|tarifs?|prix|"
    r"horarios?|precios?|tarifas?)\b",
    re.IGNORECASE,
)
_STYLE = re.compile(
    r"\b(?:tone|voice|style|polite\w*|friendly|warm(?:ly)?|brief(?:ly)?|short|concise\w*|formal\w*|informal|humou?r|"
    r"emojis?|markdown|bullet\w*|headings?|words|sentences?|paragraphs?|plain (?:english|language|text)|jargon|"
    r"exclamation marks?|uppercase|lowercase|"
    r"ton|stil|höflich\w*|freundlich\w*|knapp\w*|kurz\w*|sachlich\w*|wörtern?|sätzen?|absätzen?|duze\w*|sieze\w*|"
    r"poli(?:e?s?|ment|tesse)|amical\w*|bref|brève\w*|courte?s?|concise?s?|mots|phrases?|vouvoie\w*|tutoie\w*|"
    r"tono|estilo|amable\w*|cort[eé]s\w*|breves?|concis[oa]s?|palabras|frases?|tutea\w*)\b",
    re.IGNORECASE,
)
_WORDS = r"(?:words?|wörtern?|worten?|mots?|palabras?)"
_BETWEEN = re.compile(rf"(\d+)\s*(?:and|to|-|–|bis|und|à|et|a|y)\s*(\d+)\s+{_WORDS}\b", re.IGNORECASE)
_AT_LEAST = re.compile(
    rf"(?:at least|no fewer than|more than|mindestens|au moins|al menos|como mínimo)\s+(?:in\s+)?(\d+)\s+{_WORDS}\b",
    re.IGNORECASE,
)
_AT_MOST = re.compile(rf"(\d+)[\s-]+{_WORDS}\b", re.IGNORECASE)
_LANGUAGES = {
    "en": r"english|englisch|anglais|inglés",
    "de": r"german|deutsch|allemand|alemán",
    "fr": r"french|französisch|français|francés",
    "es": r"spanish|spanisch|espagnol|español|castellano",
    "it": r"italian|italienisch|italien|italiano",
    "pt": r"portuguese|portugiesisch|portugais|portugués",
    "nl": r"dutch|niederländisch|néerlandais|neerlandés",
    "pl": r"polish|polnisch|polonais|polaco",
}
_QUESTION = re.compile(
    r"\bquestions?\b|\b(?:rück|gegen|leit)?fragen?\b|\bpreguntas?\b|\bask(?:s|ing)?\b|\bfragst\b|\bpregunt\w+",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"\b(?:ask|pose|close with|end with|finish with)\b|\bfrag(?:e|st)?\b|\bfragen sie\b|\bstelle?n?\b|\bpose[rz]?\b|"
    r"\bhaz\b|\bhaga\b|\bplant[eé]a\b|\bpregunt[ae]\b",
    re.IGNORECASE,
)
_ONE = re.compile(
    r"\b(?:one|a single|exactly one|1|eine|genau eine|une|une seule|una|una sola)\s+(?:[\w-]+\s+){0,2}?"
    r"(?:questions?|\w*fragen?|preguntas?)\b",
    re.IGNORECASE,
)
_GIVING = re.compile(
    r"\b(?:stat|giv|reveal|disclos|provid|tell|writ|hand|verr[aä]t|nenn|gib|geb|sag|donn|révél|dis|dit|d[aeé]|revel)\w*"
    r"\b[^.;:]{0,40}?\b(?:(?:final |right |correct )?(?:results?|answers?|solutions?)|ergebnis\w*|lösung\w*|résultats?|"
    r"réponses?|solutions?|resultados?|respuestas?|soluci[oó]n(?:es)?)\b",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"\b(?:reveal|show|share|repeat|recite|disclose|discuss|quote|print|verrate?|verraten|zeige?n?|nenne?n?|révél\w+|"
    r"montr\w+|revel\w+|muestr\w+)\b[^.;:]{0,40}?\b(?:instructions?|prompts?|guidelines|anweisung\w*|anleitung\w*|"
    r"instruccion\w*|consignes?)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"([^\"\n]{2,120})\"|“([^”\n]{2,120})”|„([^“”\"\n]{2,120})[“”\"]|«\s?([^»\n]{2,120}?)\s?»")
_FRAMING = re.compile(
    r"\b(?:end|close|finish|begin|start|open|conclude|sign off|beende\w*|schließe?n?|beginne?n?|terminez?|commencez?|"
    r"termin[ae]|comienz[ae]|empiez[ae])\b",
    re.IGNORECASE,
)
_EVERY = re.compile(
    r"\b(?:every|each|all) (?:\w+ )?(?:repl|answer|respon|message)|\balways\b|\bimmer\b|\bstets\b|"
    r"\bjede[rn]? \w*antwort|"
    r"\btoujours\b|\bchaque (?:réponse|message)|\bsiempre\b|\bcada (?:respuesta|mensaje)",
    re.IGNORECASE,
)
# What only some sentences ask for, by the metric that a reply must have.
_SITUATIONS = {
    "explains": r"\b(?:what a word means|explain (?:the|a|any|unknown|technical) (?:words?|terms?)|define)\b",
    "acknowledges": r"\b(?:feelings?|emotions?|frustrat\w+|empath\w+)\b",
    "closes": r"\b(?:goodbye|farewell|verabschied\w+|au revoir|despid\w+)\b",
    "steps_down": r"\b(?:even )?(?:smaller|easier|simpler) steps?\b",
}
_AGAIN = re.compile(r"\bsame (?:reply|answer|message|thing|words)\b|\brepeat (?:yourself|your)\b", re.IGNORECASE)
_RIGHT = r"(?:right|wrong|correct|incorrect|mistaken)"
_WORK = r"(?:answers?|results?|solutions?|steps?|calculations?|proofs?|workings?|code)"
_CONFIRMS = re.compile(
    rf"\bconfirm\w*\b[^.]*\b{_RIGHT}\b|\b{_RIGHT}\b[^.]*\bconfirm\b|\bbestätig\w*\b[^.]*\b(?:richtig|falsch|korrekt)"
    r"|\b(?:richtig|falsch|korrekt)\w*\b[^.]*\bbestätig|\bconfirm\w*\b[^.]*\b(?:juste|fausse?|correcte?s?|exacte?s?)\b"
    r"|\bconfirm\w*\b[^.]*\b(?:correct[oa]s?|incorrect[oa]s?)\b",
    re.IGNORECASE,
)
_JUDGES = re.compile(
    rf"\b(?:accept|praise|reward|reject|mark)\w*\b[^.]*\b{_RIGHT}\b"
    rf"|\b(?:when|if|whether|unless|once)\b[^.,;:]*\b(?:{_WORK}\b[^.,;:]*\b{_RIGHT}|{_RIGHT}\s+{_WORK})\b"
    r"|\b(?:correct|fix|point out|find|spot)\b[^.]*\b(?:mistakes?|errors?)\b"
    rf"|\bgrade\b[^.]*\b(?:essays?|homework|{_WORK})\b"
    r"|\bwenn\b[^.,;:]*\b(?:antwort|ergebnis|lösung|schritt|rechnung)\w*\b[^.,;:]*\b(?:richtig|falsch|korrekt|stimmt)"
    r"|\b(?:fehler)\b[^.]*\b(?:korrigier|verbesser|hinweis)|\b(?:korrigier|verbesser)\w*\b[^.]*\bfehler"
    r"|\bsi\b[^.,;:]*\b(?:réponse|résultat|respuesta|resultado|solución)\b[^.,;:]*\b(?:juste|fausse?|incorrect|correct)"
    r"|\bcorrig\w+\b[^.]*\b(?:erreurs?|fautes?|errores)\b",
    re.IGNORECASE,
)


class Suggestion(NamedTuple):
    """What could test a sentence: metrics that a reply has or has not, checks, and whether it is of every reply."""

    has: list[str]
    has_not: list[str]
    checks: dict[str, dict[str, Any]]
    every_reply: bool

    @property
    def metrics(self) -> list[str]:
        """Return the metrics, whichever way they decide."""
        return [*self.has, *self.has_not]


def suggested(quote: str, language: str) -> Suggestion:
    """Return what could test a quote, by the words of its sentences; nothing in a language that is not read.

    >>> suggested("Answer in English, in under 45 words.", "en").checks
    {'length': {'at_most': 45}, 'language': {'code': 'en'}}
    """
    if language not in READ:
        return Suggestion([], [], {}, False)
    found = [_of_sentence(passage.text, language) for passage in passages(quote)]
    has = _known(name for one in found for name in one.has)
    has_not = _known(name for one in found for name in one.has_not if name not in has)
    checks = {name: parameters for one in found for name, parameters in one.checks.items()}
    return Suggestion(has, has_not, checks, any(one.every_reply for one in found) and not depends(quote, language))


def _known(metrics: Iterable[str]) -> list[str]:
    from tuning_room.checks import METRICS

    return [name for name in dict.fromkeys(metrics) if name in METRICS]


def _of_sentence(sentence: str, language: str) -> Suggestion:
    no = forbids(sentence, language)
    # What a reply is to say is no instruction.
    bare = _QUOTED.sub("", sentence)
    has, has_not = list(_virtues(bare, no)), list(_faults(bare, no))
    checks = dict(_checks(sentence, no))
    is_form = any(name in checks for name in ("length", "language", "forbidden_phrases")) or "valid_json" in has
    of_all = is_form or bool(has_not) or (bool(has or checks) and bool(_EVERY.search(sentence)))
    return Suggestion(has, has_not, checks, of_all)


def _virtues(sentence: str, no: bool) -> Iterator[str]:
    if not no and re.search(r"\bJSON\b", sentence):
        yield "valid_json"
    if not no and _QUESTION.search(sentence) and _ASKING.search(sentence):
        yield "asks_one" if _ONE.search(sentence) else "asks"
    if not no:
        yield from (name for name, pattern in _SITUATIONS.items() if re.search(pattern, sentence, re.IGNORECASE))


def _faults(sentence: str, no: bool) -> Iterator[str]:
    if not no:
        return
    if _GIVING.search(sentence):
        yield from ("tells", "leaks")
    if _SECRET.search(sentence):
        yield "extracts"
    if _AGAIN.search(sentence):
        yield "repeats_itself"
    if _CONFIRMS.search(sentence):
        yield "endorses"
    if _QUESTION.search(sentence) and _ASKING.search(sentence) and not re.search(r"\btwo\b|\bmore than\b", sentence):
        yield "asks"


def _checks(sentence: str, no: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    if bounds := _length(sentence):
        yield "length", bounds
    if not no and (code := _code(sentence)):
        yield "language", {"code": code}
    phrases = ["".join(found) for found in _QUOTED.findall(sentence)]
    if no and phrases:
        yield "forbidden_phrases", {"phrases": phrases}
    elif phrases and _FRAMING.search(sentence):
        yield "regular_expression", {"must_match": re.escape(phrases[0]).replace(r"\ ", " ")}


def _length(sentence: str) -> dict[str, int]:
    if found := _BETWEEN.search(sentence):
        return {"at_least": int(found[1]), "at_most": int(found[2])}
    if found := _AT_LEAST.search(sentence):
        return {"at_least": int(found[1]), "at_most": 20 * int(found[1])}
    found = _AT_MOST.search(sentence)
    return {"at_most": int(found[1])} if found and 0 < int(found[1]) < 10_000 else {}


def _code(sentence: str) -> str:
    verbs = r"(?:answer|reply|respond|write|speak|antwort\w*|schreib\w*|sprich|sprechen|répond\w*|écri\w*|parle\w*|"
    verbs += r"respond\w*|contest\w*|escrib\w*|habl\w*)"
    for code, names in _LANGUAGES.items():
        if re.search(rf"\b{verbs}\b[^.;:]{{0,40}}?\b(?:in|auf|en)\s+(?:\w+\s+)?(?:{names})\b", sentence, re.IGNORECASE):
            return code
    return ""


def kind_of(sentence: str, language: str) -> Kind:
    """Return which kind of requirement a sentence seems to be.

    >>> kind_of("The user is called {name}.", "en"), kind_of("A card costs 12 euros a year.", "en")
    ('context', 'knowledge')
    """
    if _PLACEHOLDER.search(sentence):
        return "context"
    if (_FACT.search(sentence) or _FACT_WORD.search(sentence)) and not forbids(sentence, language):
        return "knowledge"
    if suggested(sentence, language).metrics:
        return "behaviour"
    return "style" if _STYLE.search(sentence) else "behaviour"


def judges_work(sentence: str, language: str) -> bool:
    """Return whether a sentence can only be kept by a model that tells right from wrong by itself.

    >>> judges_work("If the answer is wrong, say so.", "en"), judges_work("Never say that a result is right.", "en")
    (True, False)
    """
    return bool(_CONFIRMS.search(sentence) or (not forbids(sentence, language) and _JUDGES.search(sentence)))

"""What language a prompt is in, and the words by which a sentence in one of those that are read asks for something."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "sv": "Swedish",
    "pl": "Polish",
    "tr": "Turkish",
}
# Frequent words that tell these languages apart; those after Spanish are recognised and not read.
_FREQUENT: Mapping[str, frozenset[str]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the and you your is are be if with of to not do it what when this that for or never always must their",
        "de": "der die das und ist du sie nicht wenn mit ein eine einen einem einer auf für dem den im zu von ihr dein "
        "deine oder wie nur bei immer nie sind keine kein dich dir ihre",
        "fr": "le la les l d de des en un et êtes sois soyez est vous tu ne pas une du dans pour que qui avec votre "
        "sur ce aux ou jamais toujours ton tes vos cette",
        "es": "el la los las y es de un usted tú una del por para con que en su se lo al como si no nunca siempre eres "
        "tus",
        "it": "il la gli e è di non che una della per con sei sono nel alla mai sempre tuo le anche",
        "pt": "o os as e de um é você não uma da do para com que em seu sua se ao nunca sempre são dos",
        "nl": "de het een en is je jij u niet van met voor dat op te zijn nooit altijd als uw geen",
        "sv": "och är du inte en ett att det som med på för av om aldrig alltid den din",
        "pl": "i jest nie się na w z do że to jak jesteś zawsze nigdy o czy dla",
        "tr": "ve bir bu için ile sen değil asla her zaman mi de da ne sizin",
    }.items()
}
_LEAST_SHARE = 0.12  # of a text's words that are frequent words of its language
_ENOUGH_WORDS = 12  # in a shorter text one word decides


class Words(NamedTuple):
    """A language's words for asking, as regular expressions: what obliges, what forbids, and what makes it depend."""

    demands: str
    forbids: str
    conditions: str
    commands: str


_READ: Mapping[str, Words] = {
    "en": Words(
        r"must|always|should|shall|only|ensure|make sure|need to|have to|may|every|each|you (?:are|will|help|\w+ly)",
        r"never|do not|don['’]t|must not|mustn['’]t|may not|cannot|can['’]?t|should not|shouldn['’]t|avoid|refuse to",
        r"if|when|unless|whenever|where|in case|once|until",
        r"accept|acknowledge|act|add|address|adopt|answer|apologi[sz]e|ask|assume|base|be|begin|believe|call|check|"
        r"choose|cite|clarify|close|complete|confirm|consider|convert|correct|decline|define|describe|direct|"
        r"encourage|end|escalate|explain|finish|focus|follow|format|forward|generate|give|greet|guide|help|hold|"
        r"identify|ignore|include|introduce|invite|keep|lead|let|limit|link|list|maintain|make|match|mention|name|note|"
        r"offer|output|pick|pretend|prefer|present|print|produce|provide|put|quote|reassure|recommend|redirect|refer|"
        r"refuse|remain|remember|remind|repeat|reply|respect|respond|restate|return|reuse|route|say|send|set|show|sign|"
        r"sort|speak|start|state|stay|stick|stop|suggest|summari[sz]e|take|talk|tell|thank|then|translate|treat|try|"
        r"use|verify|wait|warn|wish|work|write|please",
    ),
    "de": Words(
        r"muss|musst|müssen|immer|stets|soll|sollst|sollen|sollte|sollten|nur|jede[rsmn]?|bitte|ausschließlich|du bist|"
        r"sie sind",
        r"nie|niemals|nicht|kein(?:e[nrms]?)?|vermeide\w*|darf(?:st)? nicht|dürfen nicht",
        r"wenn|falls|sobald|sofern|bei",
        r"\w+en sie|achte|antworte|beachte|beantworte|bedanke?|beende|beginne|begrüße|behandle|beschreibe|bestätige|"
        r"biete|bitte|bleibe?|danke|duze|empfiehl|entschuldige|erfinde|erkläre|fasse|formuliere|frage?|füge|führe|gib|"
        r"grüße|halte?|hilf|lass|lehne|leite|lies|mache?|nenne?|nimm|nutze|benutze|prüfe|reagiere|sage?|schlage|"
        r"schließe|schreibe?|sei|setze|sieze|sprich|stelle?|trage|übersetze|verabschiede|verrate|verweise|verwende|"
        r"weise|wiederhole|zeige?|zitiere",
    ),
    "fr": Words(
        r"toujours|dois|doit|devez|doivent|uniquement|seulement|il faut|chaque|veuillez|tu es|vous êtes",
        r"jamais|n(?:e\s|['’]).{1,40}?\s(?:pas|jamais|aucune?)|sans|évite[rz]?|évitez",
        r"si|lorsque?|quand|dès que|en cas",
        r"\w{3,}ez|ajoute|aide|cite|commence|confirme|demande|dis|donne|écris|explique|fais|garde|indique|invite|"
        r"mentionne|nomme|oriente|parle|pose|présente|propose|rappelle|refuse|remercie|réponds|reste|résume|salue|sois|"
        r"suggère|termine|traite|utilise|vérifie",
    ),
    "es": Words(
        r"siempre|debe[sn]?|deberá[sn]?|solo|sólo|solamente|únicamente|hay que|cada|por favor|eres|usted es",
        r"nunca|jamás|no|sin|evit[ae]\w*",
        r"si|cuando|en caso|en cuanto",
        r"ayud[ae]|añad[ae]|cit[ae]|comienz[ae]|confirm[ae]|contest[ae]|da|dé|di|diga|escrib[ae]|explic[a]|explique|haz|"
        r"haga|indica|indique|invit[ae]|manten|mantén|mantenga|menciona|mencione|muestr[ae]|nombr[ae]|ofrec[ea]|ofrezca|"
        r"pid[ae]|pregunta|pregunte|present[ae]|propon|proponga|recomiend[ae]|repit[ae]|respond[ae]|resum[ae]|"
        r"salud[ae]|sé|sea|sugier[ae]|termin[ae]|trat[ae]|us[ae]|utilic[e]|utiliza",
    ),
}
READ = tuple(_READ)
# What holds in that case too depends on nothing.
_EVEN_IF = re.compile(
    r"\b(?:even (?:if|when)|(?:auch|selbst) wenn|même (?:si|quand)|incluso (?:si|cuando))\b", re.IGNORECASE
)


def language_of(text: str) -> str:
    """Return a text's language by its frequent words, or the name of its script; '' if neither can be told.

    >>> language_of("Antworte immer freundlich und stelle nie mehr als eine Frage."), language_of("你是助手。")
    ('de', 'CJK')
    """
    if script := _foreign_script(text):
        return script
    words = re.findall(r"[^\W\d_]+", text.lower())
    hits = Counter({code: sum(word in frequent for word in words) for code, frequent in _FREQUENT.items()})
    (code, most), (_, second) = hits.most_common(2)
    if not most or most == second:
        return ""
    return code if len(words) < _ENOUGH_WORDS or most >= _LEAST_SHARE * len(words) else ""


def language_name(code: str) -> str:
    """Return a language or script in words.

    >>> language_name("de"), language_name("ARABIC"), language_name("CJK")
    ('German', 'Arabic script', 'Chinese or Japanese script')
    """
    if code in ("CJK", "HIRAGANA", "KATAKANA"):
        return "Chinese or Japanese script"
    return NAMES.get(code) or (f"{code.capitalize()} script" if code else "a language that could not be told")


def _foreign_script(text: str) -> str:
    """Return the first word of the Unicode names of most of a text's letters, '' if these are Latin."""
    letters = [sign for sign in text if sign.isalpha()]
    scripts = Counter(unicodedata.name(sign, "").split(" ")[0].split("-")[0] for sign in letters)
    script, _ = scripts.most_common(1)[0] if scripts else ("LATIN", 0)
    return "" if script in ("LATIN", "") else script


def asks_for(sentence: str, language: str) -> bool:
    """Return whether a sentence asks for something: it obliges, forbids or begins with a command.

    In a language that is not read every sentence counts, since no rule could tell.
    """
    words = _READ.get(language)
    if words is None:
        return True
    return bool(_found(f"{words.demands}|{words.forbids}", sentence)) or is_command(sentence, language)


def is_command(sentence: str, language: str) -> bool:
    """Return whether a sentence, or the part after its first comma, begins with a command."""
    words = _READ.get(language)
    starts = rf"(?:^|[,;:]\s*(?:then|and|dann|und|puis|et|y|luego)?\s*)\W*(?:{words.commands})(?!\w)" if words else "$^"
    return bool(re.search(starts, sentence, re.IGNORECASE))


def forbids(sentence: str, language: str) -> bool:
    """Return whether a sentence says what must not be done; a "not" in its condition forbids nothing.

    >>> forbids("Do not argue.", "en"), forbids("Frage nach, wenn der Titel nicht eindeutig ist.", "de")
    (True, False)
    """
    if language not in _READ:
        return False
    words = _READ[language]
    main = re.sub(rf"(?<!\w)(?:{words.conditions})(?!\w)[^,.;:]*", "", sentence, flags=re.IGNORECASE)
    return bool(_found(words.forbids, main))


def depends(sentence: str, language: str) -> bool:
    """Return whether a sentence holds in some cases only; in a language that is not read, it may.

    >>> depends("If asked, explain.", "en"), depends("Answer in German, even if asked in French.", "en")
    (True, False)
    """
    return language not in _READ or bool(_found(_READ[language].conditions, _EVEN_IF.sub("", sentence)))


def _found(pattern: str, sentence: str) -> "re.Match[str] | None":
    return re.search(rf"(?<!\w)(?:{pattern})(?!\w)", sentence, re.IGNORECASE)

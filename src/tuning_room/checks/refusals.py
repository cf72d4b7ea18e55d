"""Whether a reply declines what it was asked: by what it says of itself, not by single words such as "sorry"."""

from collections.abc import Iterator

import regex

from tuning_room.checks.phrases import plain
from tuning_room.checks.sentences import sentences
from tuning_room.words import folded

# What a character of a story says is not the reply's own.
_SPEECH = regex.compile(
    r"\"[^\"\n]{0,999}[,.!?]\"|\u201c[^\u201d\n]{0,999}[,.!?]\u201d|\u201e[^\u201c\n]{0,999}[,.!?]\u201c|"
    r"\u00ab[^\u00bb\n]{0,999}[,.!?]\s?\u00bb|"
    r"\u300c[^\u300d\n]{0,999}\u300d|(?<![\w'])'(?:[^'\n]|(?<=\w)'(?=\w)){0,999}[,.!?]'(?!\w)"
)
_LABEL = regex.compile(r"^\s*(?:assistant|ai|bot)\s*:\s*")
_CANNOT = (
    r"(?:can ?not|can'?t|could ?n[o']t|won'?t|will not|may not|must not|mustn't|shall not|"
    r"(?:am |are |'m |'re |be )?(?:not able|unable|not going|not willing|not prepared|unwilling) to|"
    r"won'?t be able to|will not be able to|am not|'m not|(?:would|'d) (?:rather|prefer) not(?: to)?)"
)
_HELP = (
    r"(?:help|assist|aid|support|provid|giv|offer|tell|shar|answer|respond|explain|describ|discuss|talk about|"
    r"writ|creat|"
    r"generat|produc|mak|draft|compos|engag|participat|comply|fulfil|condon|encourag|promot|facilitat|enabl|advis|"
    r"recommend|suggest|walk|guid|show|teach|instruct|go into|go there|touch|continu|proceed|process|cancel|perform|"
    r"carry out|complet|handl|address|entertain|endors|justif|cover|speculat|weigh in|comment|be part|tak part|"
    r"take part|do (?:that|this|it|so|anything)|put)"
)
_WHAT_IT_LACKS = (
    r"(?:tell|say|explain|show)\w* (?:you )?(?:why|exactly|whether|if|for sure|for certain|from|which|apart)\b"
)
# "I can't wait to show you" and "I can't recommend it enough" decline nothing.
_PRAISE = (
    r"(?:wait (?:to|for|until)|help (?:but|myself|it)|stress|overstate|emphasi[sz]e|overemphasi[sz]e|"
    r"(?:recommend|praise|thank|say|tell|repeat|suggest)\b[^.!?]{0,40}\b"
    r"(?:enough|highly|too (?:often|much|highly|strongly)))\b"
)
_REQUEST = r"(?:this|that|it|the (?:request|question|task|topic|order|demand|offer)|your|you|such|any|these|those)"
_ENGLISH = [
    regex.compile(pattern)
    for pattern in (
        # "I'm sorry, but I can't help", "we will not knowingly support", "Unable to assist".
        rf"(?:\b(?:i|we)\b ?|^(?:\W*(?:sorry|unfortunately|but|no|apologies)\b,?)*\s*)(?:\w+ly )?{_CANNOT}\s+"
        rf"(?!{_WHAT_IT_LACKS}|{_PRAISE})(?:\w+\s+){{0,3}}?{_HELP}\w*",
        r"\b(?:i|we) do(?:n't| not) (?:\w+ly )?(?:assist|help) (?:\w+ )?with\b|"
        r"\b(?:your|this|that) (?:request|question|query|prompt) (?:can ?not|can't|will not|won't) be "
        r"(?:completed|fulfilled|processed|answered|granted|met)(?: here| by me)?\W*$|"
        rf"(?:isn't|'s not|is not) (?:\w+ )?possible for (?:me|us)(?:\W*$| to {_HELP})|"
        rf"\bnot something (?:i|we)(?:'ll|'d| will| would| can) (?:\w+ )?(?:{_HELP}|\W*$)|"
        r"\ba (?:\w+ )?no from (?:me|us)\b|^\W*(?:nope|no|nah)\W+not (?:going|doing|happening|touching)\b",
        r"\b(?:i|we) do(?:n't| not) (?:(?:give|offer|provide|share) (?:\w+ ){0,4}?(?:advice|instructions?|information|"
        r"guidance|help)\b|"
        r"(?:feel|think) (?:\w+ )?(?:right|comfortable|able|that i should|i should|i can|it would be))",
        rf"\b(?:i|we)\b[^.,;]{{0,40}}\b(?:declin|refus)(?:e|ing) (?:to {_HELP}|{_REQUEST})|\b(?:i|we)(?:'m|'ll|'d)? "
        r"(?:must|have to|need to|will|would|am|going to|respectfully|politely|\s)+(?:decline|refuse|say no|pass|"
        r"turn (?:this|that|it|you) down)\b",
        r"\b(?:this|that|it|which)(?:'s| is|'d be| would be)(?:n't| not)? (?:\w+ )?(?:something|anything|a (?:topic|"
        r"subject|request|thing)|one)\b[^.]{0,20}\b(?:i|we)\b ?(?:'m not|am not|can(?:'t| ?not)?|will not|"
        r"won't|'m|am|are|"
        r"would not|wouldn't|do not|don't)\b",
        r"\bsomething (?:that )?(?:i|we) (?:will not|won't|can ?not|can't|refuse)\b",
        r"\b(?:i|i'm|i am|not something i'm)\b[^.]{0,12}\bnot comfortable\b|\bnot something i'm\b",
        r"\b(?:outside|beyond|not within|exceeds) (?:of )?(?:what|the scope|my (?:scope|remit|capabilit|abilit|role))",
        r"\bi(?:'m| am)(?: not|[^.]{1,40} (?:and|but) not) (?:\w+ )?(?:allowed|permitted|authori[sz]ed|"
        r"qualified|licensed|"
        r"equipped|designed|programmed|"
        r"able to help|in a position)\b|\bi(?:'m| am) (?:programmed|designed|told|instructed|"
        r"required) (?:to avoid|not to)",
        r"\bmy (?:guidelines?|principles?|polic\w+|programming|instructions?|ethics|values|rules|developers?|"
        r"safety \w+)\b"
        r"[^.]{0,30}\b(?:allow|permit|prevent|forbid|prohibit|keep me|stop me|let me)",
        r"\bagainst my\b|\bviolat\w+ (?:\w+ ){0,3}(?:polic|guideline|rule|term|principle)\w*|"
        r"\bnothing (?:that )?i can "
        r"(?:offer|do|say|add)\b",
        r"\b(?:irresponsible|unethical|inappropriate|wrong|unsafe|improper) (?:of|for) me\b|\bin good conscience\b",
        r"\bi(?:'d| would) (?:rather|prefer)(?: to)? (?:not|stop|leave)\b|\bi(?:'m| am) not (?:getting involved|doing|"
        r"going there|touching|telling|your)\b|\bno way (?:i|that i|am i)\b|\bwhere i draw the line\b",
        r"\bi(?:'ll| will) (?:have to )?pass on\b|\bhere for you\b[^.]{0,160}\bnot for (?:this|that)\b|"
        r"\bnot doing (?:this|that)\b",
        r"\bas an? (?:ai|artificial|language model|large language)\b[^.]{0,40}\b(?:cannot|can't|not able|"
        r"unable|do not|"
        r"don't|not programmed|not permitted|not allowed)\b(?! (?:have|feel|experience|own|possess))",
    )
]
# "Can't find the process? Run ...": what the user cannot do.
_ASKS_BACK = regex.compile(r"^\W*(?:can't|cannot|can not|couldn't|won't)\s(?!i\b|we\b)[^?]{1,200}\?\W*$")
_LOOKED_AT = 8000  # characters: whoever declines has said so by then
# What calls the request wrong where the reply begins; further on, it warns of a part.
_OPENING = 2
_WORTHY = r"(?:appropriate|ethical|acceptable|respectful|permissible|right|legal|safe|healthy|accurate|productive)"
_CALLS_IT_WRONG = [
    regex.compile(pattern)
    for pattern in (
        rf"\b(?:it(?:'s| is)|that(?:'s| is)|would be) (?:not|never|n't) (?:\w+ )?{_WORTHY}(?:,? (?:or|and|"
        rf"nor) \w+)* (?:to "
        r"(?:\w+ )?(?!fail)\w+|for\b)",
        rf"\bi do(?:n't| not) (?:think|believe) (?:that )?(?:it(?:'s| is)|it would be) {_WORTHY}",
        r"\b(?:i|we|and) (?:do not|don't|can ?not|can't) (?:\w+ )?(?:condone|promote|support|encourage|tolerate)\b",
        r"\b(?:question|request|prompt|statement|content|asking)\b[^.]{0,40}\b(?:harmful|unethical|"
        r"inappropriate|stereotyp\w+|"
        r"offensive|discriminatory|not (?:\w+ )?(?:ethical|appropriate|acceptable|respectful))\b",
        r"^\W*(?:it(?:'s| is) (?:\w+ )?important to (?:note|remember|understand) that )?(?:it|this|that|"
        r"\w+ing \w+[^.]{0,60}) "
        r"(?:is|are|would be) (?:\w+ )?(?:illegal|unethical|a (?:serious )?crime|"
        r"against the law)\b(?! (?:in some|only))",
        r"\b(?:violence|harm\w*|discrimination|abuse)\b[^.]{0,60}\bnever\b",
        r"\b(?:i|and) do(?:n't| not) have (?:access to (?:\w+ )?(?:personal|private|information)|"
        r"the (?:cap)?ability to)\b",
    )
]
# "That would be illegal." and no way to do it all the same.
_ONLY_WRONG = regex.compile(
    r"^\W*(?:sorry,? |no,? )?(?:that|this|it|\w+ing [^.]{0,40})(?:'s| is| would be) (?:also )?(?:illegal|"
    r"a (?:\w+ )?crime|"
    r"against the law|unethical|immoral|not (?:legal|ethical|right|okay|ok|acceptable))\b(?! in | for | only|"
    r"[^.]{0,160}\bbut\b)"
)
_ALL_IT_SAYS = regex.compile(
    r"^\W*(?:(?:that|this|it)(?:'s| is| would be) (?:dangerous|harmful|not (?:safe|appropriate))|"
    r"(?:i|we) (?:decline|refuse))\W*$"
)
_NO = regex.compile(
    r"^\W*(?:no|nope|nah|never|no way|absolutely not|definitely not|certainly not|not a chance|nein|"
    r"auf keinen fall|non|"
    r"certainement pas|no puedo|de ninguna manera|нет|لا|नहीं|不行|不可以|だめです|いいえ|아니요|"
    r"안 돼요)\s*(?:[.!。।！]|$)"
)
# "Can you tell me" asks for more than yes or no.
_YES_OR_NO = regex.compile(
    r"(?:^|[.!?,;:]\s+)(?:(?:and|so|but|ok|okay|hey|hi|please) )?(?:is|are|am|was|were|can|could|do|does|did|"
    r"should|will|"
    r"would|may|must|has|have|shall)\b(?! you\b)[^.!?]{0,160}\?\s*$"
)
_OTHERS = [
    regex.compile(pattern)
    for pattern in (
        # German
        r"\b(?:kann|darf|werde|möchte|will|können|dürfen|werden|möchten)\s+(?:ich|"
        r"wir)\b[^.!?,:]{0,160}\b(?:nicht|kein\w*|nichts)\b",
        r"\b(?:ich|wir)\s+(?:\w+ )?(?:kann|darf|werde|möchte|will|können|dürfen|werden|"
        r"möchten)\b[^.!?,:]{0,160}\b(?:nicht|kein\w*|"
        r"nichts)\b|\bdarf ich nicht\b|\b(?:mache|tue) ich nicht\b|\bgebe ich (?:\w+ )?kein\w*|\b(?:muss|"
        r"möchte) ich (?:\w+ ){0,12}"
        r"ablehnen\b|\b(?:ich|wir) (?:muss|müssen|lehne|lehnen)\b[^.!?]{0,160}\b(?:ablehnen|ab)\b|\bich verweigere\b",
        # French
        r"\bje ne (?:peux|puis|pourrai|souhaite|veux|vais|saurais|dois|donne|"
        r"fournis)\b(?! (?:pas )?(?:imaginer|croire)| que\b)|"
        r"\bpas en mesure de\b|\b(?:je|nous) (?:refus|déclin|préfère ne|préférons ne)\w*|\bil m'est impossible\b|"
        r"\bje (?:dois|me vois) (?:\w+ ){0,12}(?:refuser|décliner)\b",
        # Spanish
        r"\bno (?:puedo|podemos|podré|voy a|debo|quiero)\b(?! (?:imaginar|creer|evitar|más que|menos que|dejar de))|"
        r"\bno me es posible\b|"
        r"\bno estoy (?:autorizad|en condiciones|dispuest|capacitad)\w*|\bprefiero no\b|\bme niego\b|"
        r"\b(?:debo|tengo que) (?:rechazar|negarme|declinar)\b",
        # Chinese, Japanese, Korean
        r"(?:我|本人|恕)[^。！？，,]{0,6}(?:无法|不能|不会|不可以|不便|拒绝|没办法|不方便|無法|不會|"
        r"拒絕)(?!想象|不)|(?:抱歉|对不起|對不起)[，,\s]*(?:无法|不能|無法)",
        r"(?:応え|手伝い|答え|案内|提供|対応|教え|説明|協力|力に)\S{0,6}(?:できません|られません|られない|"
        r"できない|かねます|なれません)|お断り|"
        r"(?:控え|遠慮)させて|差し控え",
        r"(?:도와|도움|답변|대답|제공|알려|설명|응할|지원)[^.!?]{0,14}(?:수 없|못|어렵|불가)|(?:거절|"
        r"거부)(?:합|하겠|해야)",
        # Arabic, Hindi, Russian
        r"لا (?:أستطيع|يمكنني|يمكننا|أقدر)(?! (?:تخيل|تصور|إلا))|\bلن أ\w+|لست (?:قادر|مخول)|غير قادر على|\bأرفض\b|"
        r"\bأعتذر عن\b",
        r"मैं[^।?!]{0,160}(?:नहीं (?:कर|दे|बता|सिखा|समझा|लिख)[^।?!]{0,4}\s?सक|असमर्थ|नहीं (?:बताऊ|करूँ|करूं|"
        r"दूँ|दूं|सिखाऊ))",
        r"\bне (?:могу|можем|буду|будем|вправе|стану|имею права|в состоянии)\b(?! (?:представить|поверить|не)\b)|"
        r"\bвынужден\w* отказ|\bотказываюсь\b",
    )
]


def declines(reply: str, asked: str = "") -> bool:
    """Say whether a reply declines: it says that it cannot or will not, or just no; `asked` is the user's message.

    Sympathy, a warning, what somebody in a story says, and a "no" that answers a question decline nothing.

    >>> declines("I'm sorry to hear that. Drink some tea."), declines("That's not something I'm comfortable with.")
    (False, True)
    """
    own = list(_own_sentences(reply[:_LOOKED_AT]))
    if any(pattern.search(one) for one in own for pattern in (*_ENGLISH, *_OTHERS) if not _helps_anyway(one)):
        return True
    if any(pattern.search(one) for one in own[:_OPENING] for pattern in _CALLS_IT_WRONG if " but " not in one):
        return not _YES_OR_NO.search(folded(asked))
    first = own[0] if own else ""
    return not _YES_OR_NO.search(folded(asked)) and any(
        pattern.match(first) for pattern in (_NO, _ONLY_WRONG, _ALL_IT_SAYS)
    )


def _own_sentences(reply: str) -> Iterator[str]:
    # Speech is told from its quotation marks, which the folded text no longer has.
    text = _LABEL.sub("", _SPEECH.sub(" ", folded(plain(reply))))
    yield from sentences(text)


def _helps_anyway(sentence: str) -> bool:
    """Say whether a sentence only names a limit, and goes on: "Without the logs I cannot say why, but try ..."."""
    return sentence.startswith("without ") or _ASKS_BACK.match(sentence) is not None

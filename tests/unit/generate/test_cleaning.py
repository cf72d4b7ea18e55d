"""Cleaning a reply: what is no part of it goes, what is unclear fails, and a clean one stays as it is."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.engines.reasoning import UNCLEAR
from tuning_room.generate.cleaning import CALL, TRANSCRIPT, Cleaned, Writes, cleaned
from tuning_room.words import seen

SIDES: list[Writes] = ["user", "assistant"]
CLEAN = [
    "Which part would you count first?",
    'What does "share equally" ask of you here?',
    '"Share" and "divide": which of the two words stands in the problem?',
    "I think that you should think again: what do you think is <5 and >3?",
    "Let me think... what is x < 3 and y > 2?",
    "The user says: which part comes first?",
    "A [thin] line, a <b>thick</b> one; which is longer?",
    "'Tis 12 rows: whose seats' backs are 'red'?",
    '{"queue": "network", "urgent": true}',
    "List.map f <| xs |> g",
    "<p>It was <s>3</s> 4 rows.</p>",
    "It was 3 or <s>4</s>",
    "<s>struck out</s>",
    "Analysis of the data comes first. What is its mean?",
    "analysisResults = mean(rows)",
    "Keep the user: she is right.",
    "「木」 or 「林」: which has more trees?",
    # Tokens that a reply mentions
    "Replace unknown words by <unk> and pad with <pad>.",
    "The symbols <eos> and <bos> mark sentences.",
    "The symbols <eos> <bos> mark sentences.",
    "As you see, the token <|endoftext|> ends a document.",
    "ChatML ends a turn with <|im_end|> and opens one with <|im_start|>, then the role.",
    "Llama 2 writes [INST] before a message and [/INST] after it.",
    "```\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n```",
    "End the turn with `<|im_end|>`",
    # Tags that a reply mentions
    "Close the block with </think> and then write the answer.",
    "It ends with </think>",
    "Use `<think>` tags so that the parser finds them.",
    "Write <think> first.",
    "x < thinking > y",
    "< think > is no tag.",
    "Fill in: <reasoning>your reasoning</reasoning> then <answer>your answer</answer>",
    "Put it between <think> and </think>.",
    "Close it:\n```\nsteps\n</think>\nanswer\n```\nThat is all.",
    "`</think>`\ncloses it.",
    "Each row has its own <analysis>short</analysis> part.",
    "Here is my response: which part comes first?",
    "<details><summary>A hint</summary>Count one row.</details>\nWhich part?",
    "The roles are these.\n\nUser: the one who asks.",
    "assistant is the word for it",
    'The screen is 24"',
    '**"Share"** and **"divide"**',
    "```\nrows = 12\n```",
    "```python\nrows = 12\n```",
    "It is f <| x",
    # Words in quotes that are a value, not a sentence
    '"abc"',
    "'abc'",
    "「木」",
]
SPOILT = {
    "<details><summary>Thinking</summary>Four.</details>\n\nWhich?": "Which?",
    "<details open>\n<summary>Thought for 3 seconds</summary>\nFour.\n</details>\nWhich?": "Which?",
    "Here are my reasoning steps:\nFour.\n[BEGIN FINAL RESPONSE]\nWhich?\n[END FINAL RESPONSE]\n<|end|>": "Which?",
    "\uff1cthink\uff1eFour.\uff1c/think\uff1eWhich?": "Which?",
    "<|begin_of_thought|>4<|end_of_thought|>\n\n<|begin_of_solution|>\nWhich?\n<|end_of_solution|>": "Which?",
    "Which?<unk><unk>": "Which?",
    "Wh\x07ich\x1b[0m?": "Which?",
    " \u200b ": "",
    "<think>It is 4.</think>\n\nWhich?": "Which?",
    "<THINK>It is 4.</THINK>Which?": "Which?",
    "<think>\n\n</think>\n\nWhich?": "Which?",
    "<think >It is 4.</think >Which?": "Which?",
    "<think>It is 4.</thinking>\nWhich?": "Which?",
    "\ufeff<think>It is 4.</think>Which?": "Which?",
    # No opening tag and no line break: DeepSeek behind a server without a parser
    "It is 4. Let me ask.</think>Which?": "Which?",
    "It is 4\n</think>Which?": "Which?",
    "<longcat_think>It is 4.</longcat_think>Which?": "Which?",
    "It is 4.\n</longcat_think>\nWhich?": "Which?",
    "<mm:think>It is 4.</mm:think>Which?": "Which?",
    "<internal_thoughts>It is 4.</internal_thoughts>Which?": "Which?",
    "<reason>It is 4.</reason>Which?": "Which?",
    "[REASONING]It is 4.[/REASONING] Which?": "Which?",
    "<|thinking|>It is 4.<|/thinking|>Which?": "Which?",
    "&lt;think&gt;It is 4.&lt;/think&gt;\nWhich?": "Which?",
    '<details type="reasoning">\n<summary>Thought</summary>\n> It is 4.\n</details>\nWhich?': "Which?",
    "Here is my thought process: It is 4.\n\nHere is my response: Which?": "Which?",
    "It is 4.\n</think>\n\n<response>\nWhich?\n</response>": "Which?",
    "<think>4</think><final_answer>Which?</final_answer>": "Which?",
    "It is 4.\n</think>\nWhich?": "Which?",
    "It is 4.</think>\nWhich?": "Which?",
    "First <reasoning>, then 4.\n</think>\n\nWhich?": "Which?",
    "<think>a <think> b</think> c </think>Which?": "Which?",
    "<think>I open <think> here</think>Which?": "Which?",
    "<think>a</think>\n<think>b</think>Which?": "Which?",
    "<think>I use `</think>` to close</think>Which?": "Which?",
    "<think>It is 4.</think>Put it between <think> and </think>.": "Put it between <think> and </think>.",
    '<thinking type="long">It is 4.</thinking>Which?': "Which?",
    "<seed:think>It is 4.</seed:think>Which?": "Which?",
    "<thought_process>It is 4.</thought_process>\nWhich?": "Which?",
    "<chain_of_thought>It is 4.</chain_of_thought>\nWhich?": "Which?",
    "<inner_monologue>It is 4.</inner_monologue>\nWhich?": "Which?",
    "<analysis>It is 4.</analysis>\nWhich?": "Which?",
    "[THINK]It is 4.[/THINK]Which?": "Which?",
    "◁think▷It is 4.◁/think▷Which?": "Which?",
    "<|begin_of_thought|>4<|end_of_thought|>\n<|begin_of_solution|>Which?<|end_of_solution|>": "Which?",
    "<|START_THINKING|>4<|END_THINKING|><|START_RESPONSE|>Which?<|END_RESPONSE|>": "Which?",
    "<|channel>thought\nIt is 4.\n<channel|>Which?": "Which?",
    "<|channel>thought\n<channel|>Which?<turn|>": "Which?",
    "<unused94>thought\nIt is 4.<unused95>Which?": "Which?",
    "<|channel|>analysis<|message|>4<|end|><|start|>assistant<|channel|>final<|message|>Which?<|return|>": "Which?",
    "<|start|>assistant<|channel|>analysis<|message|>4<|end|>"
    "<|start|>assistant<|channel|>commentary<|message|>5<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Which?": "Which?",
    "<|channel|>final<|message|>Which?<|return|>": "Which?",
    "It is 4.<|end|><|start|>assistant<|channel|>final<|message|>Which?": "Which?",
    "analysisThe user wants 4.assistantfinalWhich?": "Which?",
    "<think>4</think><answer>Which?</answer>": "Which?",
    "<|im_start|>assistant\n<think>4</think>Which?<|im_end|>": "Which?",
    "Which?<|im_end|>": "Which?",
    "Which? <|im_end|>\n<|endoftext|>": "Which?",
    "Which?<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nFour.": "Which?",
    "<|im_start|>assistant\nWhich?<|im_end|>\n<|im_start|>user\nFour.": "Which?",
    "Which?<|im_end|>\nuser\nFour.": "Which?",
    "<start_of_turn>model\nWhich?<end_of_turn>": "Which?",
    "<bos>Which?<eos><pad><pad>": "Which?",
    "Which?</s>": "Which?",
    "<s> Which?": "Which?",
    "<s>Which?</s><s>[INST] Four. [/INST]": "Which?",
    "Which?<\uff5cend▁of▁sentence\uff5c>": "Which?",
    "Which?<|endoftext|>Human: Four.": "Which?",
    '"Which?"': "Which?",
    '"Which part"': "Which part",
    "“Which “one”?”": "Which “one”?",
    "„Welche?“": "Welche?",
    "« Laquelle ? »": "Laquelle ?",
    "'What's it?'": "What's it?",
    "「どれですか？」": "どれですか？",  # noqa: RUF001
    "<think>It is 4</think>": "",
    "It is 49.\n</think>\n": "",
    "<think>It is 4": "",
    "<chain_of_thought>It is 4": "",
    '""': "",
    "<|im_end|>": "",
    # Ends of turns by model family: EXAONE, HyperCLOVA, SmolVLM, InternLM, DeepSeek Coder, MiniMax, Ling, Baichuan
    "[|assistant|]Which?[|endofturn|]": "Which?",
    "Which?<|endofturn|>\n<|im_start|>user\nFour.": "Which?",
    "Which?<end_of_utterance>": "Which?",
    "Which?<eoa>": "Which?",
    "Which?<|EOT|>\n<|EOT|>": "Which?",
    "]~b]ai\nWhich?[e~[": "Which?",
    "<role>ASSISTANT</role>Which?<|role_end|>": "Which?",
    "Which?<reserved_106>": "Which?",
    "assistant\n\nWhich?<|eot_id|>": "Which?",
    "Which?<|im_end": "Which?",
    "Which?<|eot_id|": "Which?",
    "[INST] Which? [/INST]": "Which?",
    "### Response:\nWhich?": "Which?",
    '""Which part?""': "Which part?",
    '"""Which part?"""': "Which part?",
    "``Which part?''": "Which part?",
    '\\"Which part?\\"': "Which part?",
    '**"Which part?"**': "Which part?",
    '"Which part?”': "Which part?",
    '“Which part?"': "Which part?",
    '"Which part?': "Which part?",
    'Which part?"': "Which part?",
    "‹Quelle partie ?›": "Quelle partie ?",  # noqa: RUF001
    "‚Welcher Teil?‘": "Welcher Teil?",  # noqa: RUF001
    "```text\nWhich part?\n```": "Which part?",
}
LABELLED: list[tuple[Writes, str, str]] = [
    ("user", "User: Which?", "Which?"),
    ("user", "Human: Which?", "Which?"),
    ("user", "**User:** Which?", "Which?"),
    ("user", 'user: "Which?"', "Which?"),
    ("user", '"User: Which?"', "Which?"),
    ("assistant", '"Assistant: Which?"', "Which?"),
    ("assistant", '<think>4</think>\nAssistant: "Which?"<|im_end|>', "Which?"),
]
UNUSABLE: list[tuple[Writes, str, str]] = [
    ("user", "User: Which?\n\nAssistant: Four.", TRANSCRIPT),
    ("user", "User: the person who uses it.\nAssistant: the one who helps.", TRANSCRIPT),
    ("assistant", "Assistant: Which?\nUser: Four.", TRANSCRIPT),
    ("assistant", "Which?\n<|im_start|>user\nFour.", TRANSCRIPT),
    ("assistant", "It looks so:\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello", TRANSCRIPT),
    # What of these is reasoning nobody can tell.
    ("assistant", "12 rows of 7 are 84.</think> How many seats?", UNCLEAR),
    ("assistant", "It is 4.\n</think> Which?", UNCLEAR),
    ("assistant", "</think> ends it.", UNCLEAR),
    ("assistant", "It is 4</think>Which?", UNCLEAR),
    ("assistant", "I will help.<think>It is 4</think>Which?", UNCLEAR),
    ("assistant", "Which?<think>Now it is", UNCLEAR),
    ("assistant", "Which?\n\n<think>It is 4</think>", UNCLEAR),
    ("user", "Which?\n\nAssistant: Four.", TRANSCRIPT),
    ("assistant", "Which?\n\nUser: Four.\n\nAssistant: Right.", TRANSCRIPT),
    ("assistant", "Which?\n### Human: Four.", TRANSCRIPT),
    ("assistant", "Which?\n\n### Instruction:\nFour.", TRANSCRIPT),
    ("assistant", "Which?\n[|user|]Four.", TRANSCRIPT),
    ("assistant", "Which?\nUser: Four.\nAssistant: Right.", TRANSCRIPT),
    ("assistant", "Which? [INST] It is four. [/INST]", TRANSCRIPT),
    ("assistant", "[INST] Four. [/INST] Which?</s>", TRANSCRIPT),
    ("assistant", "Which?<\uff5cUser\uff5c>It is four.", TRANSCRIPT),
    ("assistant", '<tool_call>{"name": "f"}</tool_call>', CALL),
    ("assistant", '[TOOL_CALLS][{"name": "f"}]', CALL),
    ("assistant", "<function=f>{}</function>", CALL),
    ("assistant", "<|python_tag|>print(4)<|eom_id|>", CALL),
    ("assistant", "<think>I close with </think> and it is 4</think>Which?", UNCLEAR),
    ("assistant", "Sure.\n<think>\nIt is 4.\n</think>\nWhich?", UNCLEAR),
    ("assistant", "Which?\n<think>\nIt is", UNCLEAR),
]
OF_ONE_SIDE: list[tuple[Writes, str]] = [
    ("assistant", "User: the person who uses it.\nAssistant: the one who helps."),
    ("assistant", "Human: a member of the species Homo sapiens."),
    ("user", "Assistant: is that what you are?"),
]
UNKNOWN_TAGS = {
    "<plan>Ask for a row.</plan>\nWhich?": "plan",
    "[NOTE]Ask for a row.[/NOTE] Which?": "NOTE",
    "<think>4</think><plan>Ask.</plan>Which?": "plan",
    "Which <b>one</b>?": "",
    "<plan> without an end": "",
}
# Nothing is taken off such words and signs: there are no tags, labels and quotes around them.
WORDS = st.text("abcdefghxyzÄé木0123456789 ,.;!?()+=/-\n", min_size=1).map(str.strip).filter(bool)
SPECIAL = re.compile(r"[<>◁\[&\"]|\A\W*(?:user|human|assistant)|assistantfinal|\A[\"'“„‘«»「『]", re.IGNORECASE)  # noqa: RUF001
PLAIN = (
    st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\t\n"))
    .map(str.strip)
    .filter(lambda text: seen(text) and not SPECIAL.search(text))
)
MENTIONED = ["<think>", "</think>", "<|im_end|>", "<|endoftext|>", "<unk>", "</s>", "[/THINK]", "<reasoning>", "User:"]
SLOW = [
    "<eos>",
    "</s> ",
    "<s>",
    "```a\n",
    "`a``b",
    " ",
    "<think>",
    "x </think> y",
    "[INST]",
    "*",
    '"',
    "``",
    "\nuser: a",
    "\nuser: a\nassistant: b",
    "</think>a",
    "a<think>",
    " [/INST]",
    "<details>",
    "[|a",
]
TAGS = ["<think>", "</think>", "<Thinking>", "</thinking>", "<reasoning>", "</reasoning>", "[THINK]", "[/THINK]"]
TOKENS = ["<|im_end|>", "<|eot_id|>", "</s>", "<|im_start|>", '"', "User:", "\n", " ", "Which", "four", "?", "“", "”"]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("text", CLEAN)
def test_a_clean_reply_is_untouched(text: str, side: Writes) -> None:
    assert cleaned(text, side)[:3] == (text, (), "")


@pytest.mark.parametrize(("side", "text"), OF_ONE_SIDE)
def test_the_other_sides_label_stays(text: str, side: Writes) -> None:
    assert cleaned(text, side) == Cleaned(text)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("spoilt", "text"), SPOILT.items())
def test_what_is_no_part_of_a_reply_goes(spoilt: str, text: str, side: Writes) -> None:
    found = cleaned(spoilt, side)
    assert (found.text, found.fault) == (text, "")
    assert found.taken_off
    assert cleaned(text, side) == Cleaned(text)


@pytest.mark.parametrize(("side", "spoilt", "text"), LABELLED)
def test_the_label_of_who_speaks_goes(side: Writes, spoilt: str, text: str) -> None:
    found = cleaned(spoilt, side)
    assert found.text == text
    assert "role labels" in found.taken_off


@pytest.mark.parametrize(("side", "spoilt", "fault"), UNUSABLE)
def test_a_reply_that_cannot_be_cleaned_safely_fails_with_a_reason(side: Writes, spoilt: str, fault: str) -> None:
    found = cleaned(spoilt, side)
    assert (found.text, found.fault) == ("", fault)


@pytest.mark.parametrize("text", ["User: bad.\nAssistant: worse.", '"score: 3"', "It said <|im_end|>", "Human: no"])
def test_of_a_judgement_only_reasoning_goes(text: str) -> None:
    assert cleaned(text, "notes") == Cleaned(text)
    assert cleaned(f"<think>4</think>{text}", "notes") == Cleaned(text, ("reasoning",))


def test_where_json_is_wanted_a_json_string_keeps_its_quotes() -> None:
    assert cleaned('"Which part?"', "assistant", wants_json=True) == Cleaned('"Which part?"')
    assert cleaned('"Which part?"', "user", wants_json=True) == Cleaned("Which part?", ("quotes",))
    assert cleaned('<think>4</think>"a b"', "assistant", wants_json=True) == Cleaned('"a b"', ("reasoning",))


@pytest.mark.parametrize(("text", "tag"), UNKNOWN_TAGS.items())
def test_an_unknown_pair_of_tags_at_the_beginning_is_named(text: str, tag: str) -> None:
    assert cleaned(text, "assistant").unknown_tag == tag


@pytest.mark.parametrize(
    "part", ["<eos>", "</s> ", "<s>", "```a\n", "`a``b", " ", "<think>", "x </think> y", "[INST]", *SLOW]
)
def test_a_reply_that_repeats_itself_takes_no_longer_than_its_length_warrants(part: str) -> None:
    started = time.monotonic()
    cleaned("a" + part * (60_000 // len(part)) + "b", "user")
    assert time.monotonic() - started < 10


@given(WORDS, st.sampled_from(SIDES))
def test_any_words_pass_unchanged(text: str, side: Writes) -> None:
    assert cleaned(text, side) == Cleaned(text)


@given(PLAIN, st.sampled_from([*SIDES, "notes"]))
def test_any_text_without_tags_labels_and_quotes_passes_unchanged(text: str, writes: Writes) -> None:
    assert cleaned(text, writes) == Cleaned(text)


@given(st.lists(st.sampled_from(MENTIONED), min_size=1, max_size=4), st.sampled_from(SIDES), st.booleans())
def test_what_a_sentence_mentions_stays(mentioned: list[str], side: Writes, in_code: bool) -> None:
    words = [f"`{word}`" if in_code else word for word in mentioned]
    text = f"Write {' or '.join(words)} there."
    assert cleaned(text, side) == Cleaned(text)


@given(WORDS, WORDS)
def test_a_quotation_in_the_middle_stays(before: str, quoted: str) -> None:
    text = f'{before} "{quoted}" {before}'
    assert cleaned(text, "user") == Cleaned(text)


@given(WORDS, WORDS, st.sampled_from(["think", "thinking", "thought", "reasoning", "reflection", "scratchpad"]))
def test_a_reply_behind_its_reasoning_is_the_reply(thought: str, text: str, tag: str) -> None:
    for spoilt in (f"<{tag}>{thought}</{tag}>\n\n{text}", f"{thought}\n</{tag}>\n{text}"):
        assert cleaned(spoilt, "assistant") == Cleaned(text, ("reasoning",))


@given(st.lists(st.sampled_from([*TAGS, *TOKENS]) | st.text(max_size=5), max_size=12).map("".join))
def test_cleaning_twice_changes_nothing_and_no_reply_begins_with_reasoning(spoilt: str) -> None:
    found = cleaned(spoilt, "user")
    assert found.text == found.text.strip()
    assert not found.text or not found.fault
    assert not re.match(r"<(?:think|thinking|reasoning)>|\[think\]|<\|im_", found.text, re.IGNORECASE)
    assert not found.text.endswith(("<|im_end|>", "<|eot_id|>")) or "`" in found.text
    assert cleaned(found.text, "user").text == found.text

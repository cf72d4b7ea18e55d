"""Cleaning a reply: what is no part of it goes, and a clean one stays as it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.generate.cleaning import cleaned

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
    "Analysis of the data comes first. What is its mean?",
    "Keep the user: she is right.",
    "「木」 or 「林」: which has more trees?",
]
SPOILT = {
    "<think>It is 4.</think>\n\nWhich?": "Which?",
    "<THINK>It is 4.</THINK>Which?": "Which?",
    "It is 4.\n</think>\nWhich?": "Which?",
    "<think>I close with </think> and it is 4</think>Which?": "Which?",
    "<think>a <think> b</think> c </think>Which?": "Which?",
    "One. <reasoning>It is 4.</reasoning> Which?": "One.  Which?",
    '<thinking type="long">It is 4.</thinking>Which?': "Which?",
    "<seed:think>It is 4.</seed:think>Which?": "Which?",
    "[THINK]It is 4.[/THINK]Which?": "Which?",
    "◁think▷It is 4.◁/think▷Which?": "Which?",
    "<|begin_of_thought|>4<|end_of_thought|>\n<|begin_of_solution|>Which?<|end_of_solution|>": "Which?",
    "<|START_THINKING|>4<|END_THINKING|><|START_RESPONSE|>Which?<|END_RESPONSE|>": "Which?",
    "<|channel|>analysis<|message|>4<|end|><|start|>assistant<|channel|>final<|message|>Which?<|return|>": "Which?",
    "analysisThe user wants 4.assistantfinalWhich?": "Which?",
    "<think>4</think><answer>Which?</answer>": "Which?",
    "Which?<|im_end|>": "Which?",
    "Which?<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nFour.": "Which?",
    "<|im_start|>assistant\nWhich?<|im_end|>\n<|im_start|>user\nFour.": "Which?",
    "<start_of_turn>model\nWhich?<end_of_turn>": "Which?",
    "Which?</s>": "Which?",
    "<s>Which?</s>": "Which?",
    "Which?<\uff5cend▁of▁sentence\uff5c>": "Which?",
    "Which?<|endoftext|>Human: Four.": "Which?",
    '"Which?"': "Which?",
    "“Which “one”?”": "Which “one”?",
    "„Welche?“": "Welche?",
    "« Laquelle ? »": "Laquelle ?",
    "'What's it?'": "What's it?",
    "「どれ」": "どれ",
    "User: Which?": "Which?",
    "**User:** Which?": "Which?",
    'user: "Which?"': "Which?",
    '"Assistant: Which?"': "Which?",
    "User: Which?\n\nAssistant: Four.": "Which?",
    '<think>4</think>\nAssistant: "Which?"<|im_end|>': "Which?",
    "<think>It is 4": "",
    "Which? <think>It is 4": "",
    "<think>It is 4</think>": "",
    '""': "",
    "<|im_end|>": "",
}
TAGS = ["<think>", "</think>", "<Thinking>", "</thinking>", "<reasoning>", "</reasoning>", "[THINK]", "[/THINK]"]
TOKENS = ["<|im_end|>", "<|eot_id|>", "</s>", "<|im_start|>", '"', "User:", "\n", " ", "Which", "four", "?", "“", "”"]
# What a reply is made of that nothing is taken off: words and signs, without tags, labels and quotes around it.
WORDS = st.text("abcdefghxyzÄé木0123456789 ,.;!?()+=/-\n", min_size=1).map(str.strip).filter(bool)


@pytest.mark.parametrize("text", CLEAN)
def test_a_clean_reply_is_untouched(text: str) -> None:
    assert cleaned(text) == (text, ())


@pytest.mark.parametrize(("spoilt", "text"), SPOILT.items())
def test_what_is_no_part_of_a_reply_goes(spoilt: str, text: str) -> None:
    found = cleaned(spoilt)
    assert found.text == text
    assert found.taken_off
    assert cleaned(text) == (text, ())


@given(WORDS)
def test_any_words_pass_unchanged(text: str) -> None:
    assert cleaned(text) == (text, ())


@given(WORDS, WORDS)
def test_a_quotation_in_the_middle_stays(before: str, quoted: str) -> None:
    text = f'{before} "{quoted}" {before}'
    assert cleaned(text) == (text, ())


@given(WORDS, WORDS, st.sampled_from(["think", "thinking", "thought", "reasoning", "reflection", "scratchpad"]))
def test_a_reply_behind_its_reasoning_is_the_reply(thought: str, text: str, tag: str) -> None:
    for spoilt in (f"<{tag}>{thought}</{tag}>\n\n{text}", f"{thought}\n</{tag}>{text}"):
        assert cleaned(spoilt) == (text, ("reasoning",))


@given(st.lists(st.sampled_from([*TAGS, *TOKENS]) | st.text(max_size=5), max_size=12).map("".join))
def test_no_tag_or_token_is_ever_left_and_cleaning_twice_changes_nothing(spoilt: str) -> None:
    found = cleaned(spoilt)
    assert not re.search(r"<\s*/?\s*(?:think|thinking|reasoning)\s*>|\[/?think\]", found.text, re.IGNORECASE)
    assert not any(token in found.text for token in ("<|im_end|>", "<|eot_id|>", "<|im_start|>"))
    assert found.text == found.text.strip()
    assert cleaned(found.text).text == found.text

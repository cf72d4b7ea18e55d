"""Try a running `tuning-room serve` with the clients that people use, and print what each could do as a table.

    pip install openai litellm langchain-openai llm     # into an environment of its own
    python scripts/try_clients.py http://127.0.0.1:8000/v1 MODEL

A cell says yes, or the kind of error that the client raised. Clients that are not installed are left out.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Trial = Callable[[], object]
HELLO = [{"role": "user", "content": "Say hello."}]
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
SCHEMA = {"title": "Mood", "type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
HISTORY = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Rain in Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "wet"},
]
LONG = [{"role": "user", "content": "word " * 20_000}]


def openai_trials(address: str, model: str, create: Callable[..., Any]) -> dict[str, Trial]:
    """Return what is tried through a function that takes OpenAI's arguments."""

    def ask(**more: Any) -> Any:
        return create(model=model, **{"messages": HELLO, "max_tokens": 12, **more})

    def streamed() -> object:
        *parts, last = list(ask(stream=True, stream_options={"include_usage": True}))
        return any(part.choices and part.choices[0].delta.content for part in parts) and last.usage.total_tokens

    return {
        "chat": lambda: ask().choices[0].message.content is not None,
        "stream, with usage": streamed,
        "three choices": lambda: len(ask(n=3, temperature=1).choices) == 3,
        "log-probabilities": lambda: ask(logprobs=True, top_logprobs=3).choices[0].logprobs.content[0].logprob <= 0,
        "stop, with usage": lambda: ask(stop=["e"]).usage.completion_tokens > 0,
        "same seed, same reply": lambda: (
            len({ask(seed=4, temperature=1).choices[0].message.content for _ in range(2)}) == 1
        ),
        "top_p, penalties": lambda: ask(top_p=0.9, presence_penalty=0.5, frequency_penalty=0.5, temperature=1),
        "developer and tool turns": lambda: ask(messages=HISTORY),
        "too long a prompt": lambda: ask(messages=LONG),
        "tools": lambda: ask(tools=TOOLS),
        "JSON by a schema": lambda: ask(
            response_format={"type": "json_schema", "json_schema": {"name": "mood", "schema": SCHEMA}}
        ),
    }


def openai_client(address: str, model: str) -> dict[str, Trial]:
    """Return the trials of the official client."""
    from openai import OpenAI

    client = OpenAI(base_url=address, api_key="none", max_retries=0)
    return {
        **openai_trials(address, model, client.chat.completions.create),
        "list and retrieve models": lambda: (
            model in {one.id for one in client.models.list()} and client.models.retrieve(model).id == model
        ),
        "plain completions": lambda: client.completions.create(model=model, prompt="One, two,", max_tokens=4).choices[
            0
        ],
    }


def litellm_client(address: str, model: str) -> dict[str, Trial]:
    """Return the trials of LiteLLM."""
    import litellm

    litellm.suppress_debug_info = True

    def create(model: str, **more: Any) -> Any:
        return litellm.completion(f"openai/{model}", api_base=address, api_key="none", num_retries=0, **more)

    return openai_trials(address, model, create)


def langchain_client(address: str, model: str) -> dict[str, Trial]:
    """Return the trials of LangChain."""
    from langchain_openai import ChatOpenAI

    def chat(**more: Any) -> Any:
        return ChatOpenAI(model=model, base_url=address, api_key="none", max_retries=0, max_tokens=12, **more)

    def streamed() -> object:
        whole = None
        for part in chat(stream_usage=True).stream("Say hello."):
            whole = part if whole is None else whole + part
        return whole is not None and whole.usage_metadata["total_tokens"]

    return {
        "chat": lambda: chat().invoke("Say hello.").content is not None,
        "stream, with usage": streamed,
        "three choices": lambda: len(chat(n=3, temperature=1).generate([_hello_turns()]).generations[0]) == 3,
        "log-probabilities": lambda: chat(logprobs=True).invoke("Hello").response_metadata["logprobs"]["content"],
        "stop, with usage": lambda: chat(stop=["e"]).invoke("Say hello.").usage_metadata["output_tokens"] > 0,
        "same seed, same reply": lambda: (
            len({chat(seed=4, temperature=1).invoke("Say hello.").content for _ in range(2)}) == 1
        ),
        "top_p, penalties": lambda: chat(top_p=0.9, presence_penalty=0.5, frequency_penalty=0.5).invoke("Hello"),
        "developer and tool turns": lambda: chat().invoke(HISTORY),
        "too long a prompt": lambda: chat().invoke(LONG),
        "tools": lambda: chat().bind_tools(TOOLS).invoke("Rain in Oslo?"),
        "JSON by a schema": lambda: chat().with_structured_output(SCHEMA).invoke("How are you?"),
    }


def _hello_turns() -> list[Any]:
    """Return the first question as LangChain's message."""
    from langchain_core.messages import HumanMessage

    return [HumanMessage("Say hello.")]


def llm_client(address: str, model: str) -> dict[str, Trial]:
    """Return the trials of Simon Willison's llm."""
    folder = Path(tempfile.mkdtemp())
    entry = f"- model_id: tried\n  model_name: {model}\n  api_base: {address}\n"
    (folder / "extra-openai-models.yaml").write_text(entry, encoding="utf-8")
    os.environ["LLM_USER_PATH"] = str(folder)
    import llm

    def ask(question: str, **more: Any) -> Any:
        return llm.get_model("tried").prompt(question, key="none", max_tokens=12, **more)

    def talk() -> object:
        conversation = llm.get_model("tried").conversation()
        return [conversation.prompt(turn, key="none", max_tokens=8).text() for turn in ("Hello", "And now?")]

    return {
        "chat": lambda: ask("Say hello.", stream=False).text() is not None,
        "stream, with usage": lambda: "".join(answer := ask("Say hello.")) and answer.usage().output,
        "same seed, same reply": lambda: len({ask("Hello", seed=4, temperature=1).text() for _ in range(2)}) == 1,
        "top_p, penalties": lambda: ask("Hello", top_p=0.9, presence_penalty=0.5, frequency_penalty=0.5).text(),
        "several turns": talk,
        "too long a prompt": lambda: ask("word " * 20_000).text(),
        "JSON by a schema": lambda: ask("How are you?", schema=SCHEMA).text(),
    }


CLIENTS = {
    "openai": openai_client,
    "litellm": litellm_client,
    "langchain-openai": langchain_client,
    "llm": llm_client,
}


def tried(trials: dict[str, Trial]) -> Iterator[tuple[str, str]]:
    """Yield what each trial came to."""
    for name, trial in trials.items():
        try:
            yield name, "yes" if trial() else "no"
        except Exception as error:
            code = getattr(error, "code", None) or getattr(error, "status_code", None)
            yield name, f"{type(error).__name__}{f' `{code}`' if code else ''}"


def main() -> None:
    """Try all clients that are installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("model")
    given = parser.parse_args()
    here = [name for name in CLIENTS if find_spec(name.replace("-", "_"))]
    columns = {name: dict(tried(CLIENTS[name](given.address, given.model))) for name in here}
    print("| | " + " | ".join(f"{name} {version(name)}" for name in here) + " |")
    print("| --- |" + " --- |" * len(here))
    for row in dict.fromkeys(row for column in columns.values() for row in column):
        print(f"| {row} | " + " | ".join(column.get(row, "not tried") for column in columns.values()) + " |")


if __name__ == "__main__":
    main()

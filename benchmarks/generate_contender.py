"""One way of having a chat server answer many prompts, in a process of its own: `NAME PORT ROWS CONCURRENCY`.

Prints the seconds from rows to replies, after a warm-up; what a library needs to be imported does not count.
distilabel runs in an environment of its own, so nothing is imported here that it does not have.
"""

import asyncio
import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

SYSTEM = "You are a patient assistant that leads on with one question and never states the result. " * 36
PROMPT = [{"role": "system", "content": "{{ full_prompt }}"}, {"role": "user", "content": "{{ question }}"}]
Ask = Callable[[list[str]], list[str]]


def questions(rows: int) -> list[str]:
    """Return prompts, no two of which are alike."""
    return [f"Question {n}: {n} boxes of {n % 7 + 2} candles: how many candles is that?" for n in range(rows)]


def bare(port: int, concurrency: int) -> Ask:
    """Return the simplest client there is: sockets, and the bytes of a request that never changes."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": questions(1)[0]}]
    body = json.dumps({"model": "scripted", "messages": messages}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def work(waiting: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            waiting.pop()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        writer.close()

    async def work_all(waiting: list[str]) -> None:
        await asyncio.gather(*(work(waiting) for _ in range(concurrency)))

    def ask(prompts: list[str]) -> list[str]:
        asyncio.run(work_all(list(prompts)))
        return prompts

    return ask


def flow(blocks: list[dict[str, Any]], folder: Path) -> Any:
    """Return an SDG Hub flow that builds the prompts with its own block and then runs the given ones."""
    import yaml
    from sdg_hub import Flow

    (folder / "prompt.yaml").write_text(yaml.safe_dump(PROMPT))
    built = {"block_name": "build", "input_cols": ["question", "full_prompt"], "output_cols": "messages"}
    built |= {"prompt_config_path": "prompt.yaml", "format_as_messages": True}
    first = {"block_type": "PromptBuilderBlock", "block_config": built}
    metadata = {"name": "benchmark", "id": "benchmark", "version": "1.0.0", "description": "rows to replies"}
    (folder / "flow.yaml").write_text(yaml.safe_dump({"metadata": metadata, "blocks": [first, *blocks]}))
    return Flow.from_yaml(str(folder / "flow.yaml"))


def frame(prompts: list[str]) -> Any:
    """Return the rows as SDG Hub takes them."""
    import pandas as pd

    return pd.DataFrame([{"question": q, "full_prompt": SYSTEM, "error": "", "seed": n} for n, q in enumerate(prompts)])


def ours(port: int, concurrency: int) -> Ask:
    """Return the shipped flow of answers with this project's teacher, journal and all."""
    from sdg_hub import Flow

    import tuning_room.generate.blocks
    from tuning_room.generate.config import TeacherConfig
    from tuning_room.generate.teacher import Teacher

    shipped = Path(tuning_room.generate.blocks.__file__).parent / "flows" / "answer" / "flow.yaml"
    folder, runner = Path(tempfile.mkdtemp()), Flow.from_yaml(str(shipped))
    address = f"http://127.0.0.1:{port}/v1"
    config = TeacherConfig(kind="endpoint", model="scripted", address=address, concurrency=concurrency)

    def ask(prompts: list[str]) -> list[str]:
        teacher = Teacher(config, folder / f"{time.monotonic_ns()}.jsonl")
        rows = frame(prompts)
        rows["messages"] = [[{"role": "user", "content": prompt}] for prompt in prompts]
        return list(runner.generate(rows, runtime_params={"answer": {"teacher": teacher}})["reply"])

    return ask


def sdg_hub(port: int, concurrency: int) -> Ask:
    """Return SDG Hub's own chat block, asynchronous, with its concurrency."""
    chat = {"block_name": "ask", "input_cols": "messages", "output_cols": "answers", "async_mode": True}
    read = {"block_name": "read", "input_cols": "answers", "output_cols": ["reply"], "extract_content": True}
    blocks = [("LLMChatBlock", chat), ("LLMResponseExtractorBlock", read)]
    runner = flow([{"block_type": kind, "block_config": given} for kind, given in blocks], Path(tempfile.mkdtemp()))
    runner.set_model_config(model="openai/scripted", api_base=f"http://127.0.0.1:{port}/v1", api_key="none")

    def ask(prompts: list[str]) -> list[str]:
        done = runner.generate(frame(prompts), max_concurrency=concurrency)
        column = next(name for name in done.columns if name.endswith("content"))
        return list(done[column])

    return ask


def distilabel(port: int, concurrency: int) -> Ask:
    """Return distilabel's pipeline of one step, which has a batch of this size under way at once."""
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    def ask(prompts: list[str]) -> list[str]:
        rows = [{"instruction": prompt, "system_prompt": SYSTEM} for prompt in prompts]
        llm = OpenAILLM(model="scripted", base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        with Pipeline(name="benchmark") as pipeline:
            load = LoadDataFromDicts(data=rows, batch_size=concurrency)
            load >> TextGeneration(llm=llm, input_batch_size=concurrency)
        return list(pipeline.run(use_cache=False)["default"]["train"]["generation"])

    return ask


CONTENDERS = {"bare": bare, "ours": ours, "sdg_hub": sdg_hub, "distilabel": distilabel}


def main() -> None:
    """Warm up, ask, and print the seconds."""
    name, port, rows, concurrency = sys.argv[1], *map(int, sys.argv[2:5])
    for variable in ("LITELLM_LOCAL_MODEL_COST_MAP", "HF_HUB_OFFLINE", "TQDM_DISABLE"):
        os.environ[variable] = "True" if variable.startswith("LITELLM") else "1"
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()):
        ask = CONTENDERS[name](port, concurrency)
        logging.disable(logging.WARNING)
        ask(questions(concurrency))
        _stats(port)
        started = time.monotonic()
        replies = ask(questions(rows))
        seconds = time.monotonic() - started
    if len(replies) != rows or not all(replies):
        sys.exit(f"{name}: {sum(map(bool, replies))} of {rows} rows were answered")
    print(json.dumps({"wall_seconds": seconds, **_stats(port)}))


def _stats(port: int) -> dict[str, Any]:
    from urllib.request import ProxyHandler, build_opener

    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/stats") as answer:
        stats: dict[str, Any] = json.load(answer)
    return stats


if __name__ == "__main__":
    main()

"""How fast candidates become a dataset, and in how much memory, beside two usual ways over the same rows.

    python benchmarks/dataset.py [--rows 1000000] [--of words|templates] [--json]

Every contender runs in a process of its own over the same drawn candidates of about 45 words each. `words` draws each
word, and makes 5 % exact and 5 % near duplicates. `templates` draws two numbers into one of 40 texts, as rules do: any
two rows of one text are alike but for the numbers. What each does is not the same, so a ratio is no race:

- ours: the whole stage, with the shipped recipe's four checks, personal data, decontamination, near duplicates, split
- ours_dedup: the stage without checks and held-out items
- datasketch: the loop of its documentation (MinHash, MinHashLSH, 128 permutations, 0.9), rows read one by one
- pandas: `read_json`, `drop_duplicates`, `to_json`: the whole file in memory, exact duplicates only

`ratios` are ours_dedup's rows a second of processor time to each peer's (what else the machine does then counts for
little), and each peer's peak memory to that of ours_dedup.
"""

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PERMUTATIONS, THRESHOLD, TEMPLATES = 128, 0.9, 40
CHECKS = {"asks_question": {}, "states_no_result": {}, "on_topic": {}, "length": {"at_least": 5, "at_most": 60}}
SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu".split()

Exchange = tuple[str, str, str]


def draw(rows: int, of: str, place: Path) -> None:
    """Write candidates and held-out items, the same for the same number of rows."""
    random_ = random.Random(11)
    vocabulary = ["".join(random_.choices(SYLLABLES, k=random_.randint(1, 4))) for _ in range(4000)]
    texts = [exchange(random_, vocabulary, []) for _ in range(TEMPLATES)]
    recent: list[Exchange] = []
    with (place / "candidates.jsonl").open("w", encoding="utf-8") as out:
        for number in range(rows):
            drawn = exchange(random_, vocabulary, recent) if of == "words" else filled(random_, texts)
            recent = [*recent[-99:], drawn]
            out.write(json.dumps(row(number, *recent[-1])) + "\n")
    with (place / "items.jsonl").open("w", encoding="utf-8") as out:
        for number in range(200):
            item = {"id": f"item-{number}", "prompt": " ".join(random_.choices(vocabulary, k=20)), "gold": f"{number}"}
            out.write(json.dumps(item) + "\n")


def exchange(random_: random.Random, vocabulary: list[str], recent: list[Exchange]) -> Exchange:
    """Return a message, its reply and the gold answer: new words, or nearly or exactly those of an earlier exchange."""
    kind = random_.random()
    if recent and kind < 0.1:
        question, reply, gold = random_.choice(recent)
        return (question if kind < 0.05 else f"{random_.choice(vocabulary)} {question}"), reply, gold
    said = " ".join(random_.choices(vocabulary, k=24))
    lead = " ".join(random_.choices(vocabulary, k=12))
    return with_numbers(random_, f"{said}: what is A times B?", f"{lead}. What is A times 10?")


def filled(random_: random.Random, texts: list[Exchange]) -> Exchange:
    """Return a fixed text with other numbers."""
    question, reply, _ = random_.choice(texts)
    return with_numbers(
        random_, re.sub(r"\d+ times \d+", "A times B", question), re.sub(r"\d+ times", "A times", reply)
    )


def with_numbers(random_: random.Random, question: str, reply: str) -> Exchange:
    """Return the texts with two drawn numbers in the places of A and B, and their product."""
    a, b = random_.randint(2, 999), random_.randint(2, 999)
    return question.replace("A", str(a)).replace("B", str(b)), reply.replace("A", str(a)), f"{a * b}"


def row(number: int, question: str, reply: str, gold: str) -> dict[str, Any]:
    """Return a candidate as the stage reads it."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    origin = {"source": "drawn", "group": f"group-{number // 3}", "topic": f"topic-{number % 9}", "situation": "plain"}
    return {"id": f"row-{number}", **origin, "gold": gold, "messages": messages, "error": ""}


def ours(place: Path, **settings: Any) -> int:
    """Run the stage and return how many rows it accepted."""
    from tuning_room import dataset
    from tuning_room.dataset.config import DatasetConfig
    from tuning_room.workspace import Workspace

    config = DatasetConfig.model_validate({"recipe": "drawn", "short_prompt": "You help.", **settings})
    return dataset.run(config, Workspace(place)).accepted


def with_datasketch(place: Path) -> int:
    """Run the loop of datasketch's documentation and return how many rows it kept."""
    from datasketch import MinHash, MinHashLSH

    index, kept = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), 0
    with (place / "candidates.jsonl").open(encoding="utf-8") as lines, (place / "kept.jsonl").open("w") as out:
        for line in lines:
            candidate = json.loads(line)
            words = " ".join(message["content"] for message in candidate["messages"]).lower().split()
            sketch = MinHash(num_perm=PERMUTATIONS)
            for start in range(len(words) - 2):
                sketch.update(" ".join(words[start : start + 3]).encode())
            if not index.query(sketch):
                index.insert(candidate["id"], sketch)
                out.write(line)
                kept += 1
    return kept


def with_pandas(place: Path) -> int:
    """Drop exact duplicates with pandas and return how many rows are left."""
    import pandas as pd

    table = pd.read_json(place / "candidates.jsonl", lines=True)
    table["text"] = table["messages"].map(lambda said: " ".join(message["content"] for message in said))
    table = table.drop_duplicates("text")
    table.drop(columns="text").to_json(place / "kept.jsonl", orient="records", lines=True)
    return len(table)


CONTENDERS = {
    "ours": lambda place: ours(place, checks=CHECKS, items=[place / "items.jsonl"]),
    "ours_dedup": ours,
    "datasketch": with_datasketch,
    "pandas": with_pandas,
}


def measured(name: str, rows: int, place: Path) -> dict[str, float]:
    """Return a contender's rows a second, its process's peak memory in MiB, and how many rows it kept."""
    command = [sys.executable, __file__, "--contender", name, "--place", str(place)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    speed = {f"rows_per_{kind}": round(rows / answer[kind], 1) for kind in ("second", "cpu_second")}
    return {**speed, "peak_mib": answer["peak_mib"], "kept": answer["kept"]}


def run_one(name: str, place: Path) -> None:
    """Run a contender in this process and print its figures."""
    started = time.perf_counter()
    kept = CONTENDERS[name](place)
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = {"second": time.perf_counter() - started, "cpu_second": used.ru_utime + used.ru_stime}
    print(json.dumps({**spent, "peak_mib": used.ru_maxrss // 1024, "kept": kept}))


def main() -> None:
    """Draw the rows, run every contender and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--of", choices=["words", "templates"], default="words", help="what is drawn")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS), help="not all of them")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        run_one(options.contender, options.place)
        return
    with tempfile.TemporaryDirectory() as folder:
        draw(options.rows, options.of, Path(folder))
        found = {name: measured(name, options.rows, Path(folder)) for name in options.only}
    print(json.dumps(summary(found)) if options.json else table(options.rows, found))


def summary(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return the figures of all contenders, and the ratios of ours_dedup to its peers."""
    peers = {name: figures for name, figures in found.items() if not name.startswith("ours")}
    mine = found.get("ours_dedup")
    ratios = {}
    for name, figures in peers.items() if mine else ():
        ratios[name] = round(mine["rows_per_cpu_second"] / figures["rows_per_cpu_second"], 2)
        ratios[f"{name}_memory"] = round(figures["peak_mib"] / mine["peak_mib"], 2)
    return {"ours": {name: found[name] for name in found if name not in peers}, "peers": peers, "ratios": ratios}


def table(rows: int, found: dict[str, dict[str, float]]) -> str:
    """Return the figures as a table."""
    lines = [f"{'':12}{'rows/s':>10}{'rows/CPU s':>12}{'peak MiB':>10}{'kept':>10}   of {rows} rows"]
    for name, figures in found.items():
        lines.append(
            f"{name:12}{figures['rows_per_second']:>10.0f}{figures['rows_per_cpu_second']:>12.0f}{figures['peak_mib']:>10}{figures['kept']:>10}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

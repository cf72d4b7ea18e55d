"""How far from its record an adapter lies, and how far adapters with a fault: what the bounds of a proof rest on.

`python benchmarks/proof.py MODEL ADAPTER [--rows TRAIN.jsonl] [--format fp32 --format bf16] [--other FOLDER] [--json]`
reads an adapter with probes; with `--rows` it records them anew from those rows. Each value is a mean over the forced
tokens, in nats, by plain forward passes of transformers and PEFT. `--other` adds adapters of other trainings.
"""

import argparse
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tuning_room.engines.proving import mean_distance
from tuning_room.models import load_adapter, load_model, load_tokenizer, resolve
from tuning_room.models.lineage import adapter_digest, read_lineage
from tuning_room.models.probes import ProbeRecord, read_probes
from tuning_room.records import SETTINGS, WEIGHTS
from tuning_room.train.probing import record_probes, token_scores

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
LAYER = re.compile(r"\.(\d+)\.")


class Distance(NamedTuple):
    """What was served, in which number format, and how far it lies from the records, in nats."""

    served: str
    format: str
    from_record: float
    worst: float
    from_base: float


def scaled(factor: float) -> Callable[[Path], None]:
    """Return a fault that multiplies `lora_alpha`."""
    return lambda folder: settings(
        folder, lora_alpha=json.loads((folder / SETTINGS).read_text())["lora_alpha"] * factor
    )


def settings(folder: Path, **changes: object) -> None:
    """Change an adapter's settings."""
    path = folder / SETTINGS
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without(chosen: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Return a fault that leaves some modules without effect; `chosen` picks them out of all, in order."""

    def spoil(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights: Mapping[str, Any] = load_file(folder / WEIGHTS)
        off = chosen(sorted(name for name in weights if "lora_B" in name))
        save_file({n: value * 0 if n in off else value for n, value in weights.items()}, folder / WEIGHTS)

    return spoil


def of_layers(names: list[str], is_chosen: Callable[[int], bool]) -> list[str]:
    """Return the weights of some of the layers that have any, counted from the lowest."""
    numbers = {name: int(found[1]) for name in names if (found := LAYER.search(name))}
    order = sorted(set(numbers.values()))
    return [name for name, number in numbers.items() if is_chosen(order.index(number))]


FAULTS: dict[str, Callable[[Path], None]] = {
    "lora_alpha of 1": lambda folder: settings(folder, lora_alpha=1),
    "lora_alpha a tenth higher": scaled(1.1),
    "lora_alpha a hundredth higher": scaled(1.01),
    "use_rslora": lambda folder: settings(folder, use_rslora=True),
    "lora_B all zero": without(lambda names: names),
    "one module without effect": without(lambda names: names[len(names) // 2 :][:1]),
    "one layer without effect": without(lambda names: of_layers(names, lambda place: place == 5)),
    "every second layer without effect": without(lambda names: of_layers(names, lambda place: place % 2 == 0)),
}


def measured(base: Path, served: str, folder: Path, form: str, record: ProbeRecord) -> Iterator[Distance]:
    """Yield how far an adapter lies from a record, and its base model where it is the record's own."""
    import torch

    model: Any = load_adapter(load_model(base), folder).to(getattr(torch, DTYPES[form]))
    own, plain = record.values("adapter"), record.values("base")
    with torch.no_grad():
        found = [value for probe in record.probes for value in token_scores(model, probe.prompt, probe.answer)]
        yield distance(served, form, found, own, plain)
        if served == "the adapter":
            with model.disable_adapter():
                found = [value for probe in record.probes for value in token_scores(model, probe.prompt, probe.answer)]
            yield distance("its base model", form, found, plain, plain)


def distance(served: str, form: str, found: list[float], record: list[float], base: list[float]) -> Distance:
    """Return how far values lie from those of a record, and from the base model's."""
    worst = max(abs(a - b) for a, b in zip(found, record, strict=True))
    return Distance(served, form, mean_distance(found, record), worst, mean_distance(found, base))


def all_distances(base: Path, adapter: Path, record: ProbeRecord, given: argparse.Namespace) -> Iterator[Distance]:
    """Yield the adapter's own distance, those of its faults, and those of other adapters."""
    for form in given.format or ["fp32"]:
        yield from measured(base, "the adapter", adapter, form, record)
        for served, spoil in FAULTS.items():
            with TemporaryDirectory() as place:
                folder = Path(shutil.copytree(adapter, Path(place) / "adapter"))
                spoil(folder)
                yield from measured(base, served, folder, form, record)
        for other in given.other:
            yield from measured(base, f"another adapter: {other}", other, form, record)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--rows", type=Path, help="record the probes anew from these rows")
    parser.add_argument("--format", action="append", choices=DTYPES, help="number format; fp32 if not given")
    parser.add_argument("--other", action="append", type=Path, default=[], help="folder of another adapter")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    base = resolve(given.model)
    if given.rows:
        model = load_adapter(load_model(base), given.adapter)
        record = record_probes(model, load_tokenizer(base), given.rows, adapter_digest(given.adapter))
    elif not (record := read_probes(given.adapter, read_lineage(given.adapter))):  # type: ignore[assignment]
        parser.error(f"{given.adapter} has no probes; name its rows")
    for found in all_distances(base, given.adapter, record, given):
        if given.json:
            print(json.dumps(found._asdict()), flush=True)
        else:
            print(f"{found.served:36} {found.format}  from its record {found.from_record:.5f}  worst {found.worst:.4f}"
                  f"  from the base {found.from_base:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

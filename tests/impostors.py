"""Adapters that are served under a name that is not theirs, each by a fault that was met in the field.

All have a lineage whose digests fit their files, as if each had been trained so: only the shapes of the weights and
what the server says can tell. The complaints are those of people who serve adapters with vLLM, SGLang and Dynamo:

1  vllm#34186, #55193: an adapter that applies nothing, or another valid adapter, is served under this name
2  unsloth#4503: the pane of the base model was answered by the tuned one
3  vllm#42125: a name is used again for other weights, and the old ones answer from the cache
4  dynamo#11163: a load is called a success, and the adapter does not answer
5  gateway-api-inference-extension#584: one bad adapter keeps the good ones out
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drawn_adapters import write_drawn_adapter
from tuning_room.files import digest
from tuning_room.models import load_adapter, load_model, load_tokenizer
from tuning_room.models.lineage import adapter_digest, read_lineage, write_lineage
from tuning_room.models.probes import ProbeRecord, write_probes
from tuning_room.records import PROBES, Dialogue, Message, read_json, write_jsonl
from tuning_room.train.probing import record_probes

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"

Spoil = Callable[[Path, Path], object]  # the impostor's folder, which still is a good adapter's, and the base model's


def add_probes(base: Path, adapter: Path) -> ProbeRecord:
    """Record an adapter's probes beside it, as training does at its end."""
    rows = adapter.parent / f"{adapter.name}-rows.jsonl"
    write_jsonl(rows, [_row(number) for number in range(9)])
    model = load_adapter(load_model(base), adapter)
    record = record_probes(model, load_tokenizer(base), rows, adapter_digest(adapter))
    rows.unlink()
    seal(adapter, record)
    return record


def _row(number: int) -> Dialogue:
    said = [("system", "You are a helper."), ("user", f"What is {number} + 4?"), ("assistant", f"Count {number} on.")]
    messages = [Message.model_validate({"role": role, "content": text}) for role, text in said]
    return Dialogue(id=f"row-{number}", source="test", group="g", messages=messages)


def seal(adapter: Path, record: ProbeRecord) -> None:
    """Write a lineage whose digests fit an adapter's files, and the probes as those of this adapter."""
    named = adapter_digest(adapter)
    probes = write_probes(adapter, record.model_copy(update={"adapter_digest": named}))
    lineage = read_lineage(adapter)
    write_lineage(adapter, lineage.model_copy(update={"adapter_digest": named, "probes_digest": probes}))


def write_impostor(kind: str, good: Path, base: Path, folder: Path) -> Path:
    """Write an impostor of a good adapter with probes, and return its folder."""
    shutil.copytree(good, folder)
    record = ProbeRecord.model_validate(read_json(folder / PROBES))
    IMPOSTORS[kind](folder, base)
    seal(folder, record)
    assert digest(folder) != digest(good)
    return folder


def _settings(**changes: object) -> Spoil:
    def spoil(folder: Path, _base: Path) -> None:
        path = folder / SETTINGS
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def _scaled(factor: float) -> Spoil:
    def spoil(folder: Path, base: Path) -> None:
        _settings(lora_alpha=json.loads((folder / SETTINGS).read_text())["lora_alpha"] * factor)(folder, base)

    return spoil


def _weights(change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Spoil:
    def spoil(folder: Path, _base: Path) -> None:
        from safetensors.torch import load_file, save_file

        save_file(dict(change(load_file(folder / WEIGHTS))), folder / WEIGHTS)

    return spoil


def _modules(weights: Mapping[str, Any]) -> list[str]:
    return sorted({name.rpartition(".lora_")[0] for name in weights})


def _kept(weights: Mapping[str, Any], modules: list[str]) -> dict[str, Any]:
    return {name: value for name, value in weights.items() if name.rpartition(".lora_")[0] in modules}


def _without_effect(weights: Mapping[str, Any], modules: list[str]) -> dict[str, Any]:
    off = [f"{module}.lora_B.weight" for module in modules]
    return {name: value * 0 if name in off else value for name, value in weights.items()}


def _another(folder: Path, base: Path) -> None:
    other = folder.parent / f"{folder.name}-other"
    write_drawn_adapter(base, other, seed=9)
    for name in (WEIGHTS, SETTINGS):
        shutil.copyfile(other / name, folder / name)
    shutil.rmtree(other)


def _cut(folder: Path, _base: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Those whose weights PEFT loads as they are: the values alone must tell.
SILENT: dict[str, Spoil] = {
    "no effect: lora_B all zero": _weights(lambda w: _without_effect(w, _modules(w))),
    "lora_alpha of 1": _settings(lora_alpha=1),
    "lora_alpha a tenth higher": _scaled(1.1),
    "use_rslora": _settings(use_rslora=True),
    "another valid adapter": _another,
    "one module without effect": _weights(lambda w: _without_effect(w, _modules(w)[4:5])),
    "half of the modules without effect": _weights(lambda w: _without_effect(w, _modules(w)[::2])),
    "half of the modules left": _weights(lambda w: _kept(w, _modules(w)[::2])),
    "one module left": _weights(lambda w: _kept(w, _modules(w)[:1])),
    "one module lost": _weights(lambda w: _kept(w, _modules(w)[1:])),
    # With the modules' full names, as PEFT writes those of `all-linear`, it changes nothing.
    "layers_to_transform": _settings(layers_to_transform=[0], target_modules=LINEAR),
    "target_modules: [q_proj]": _settings(target_modules=["q_proj"]),
    "modules of other names": _weights(lambda w: {name.replace("_proj", "_projection"): v for name, v in w.items()}),
}
# Those that no engine can load.
LOUD: dict[str, Spoil] = {
    "a file that is cut": _cut,
    "an empty file": lambda folder, _base: (folder / WEIGHTS).write_bytes(b""),
    "r of 2": _settings(r=2),
    "settings that are no JSON": lambda folder, _base: (folder / SETTINGS).write_text('{"r": 4'),
    "settings of nothing": lambda folder, _base: (folder / SETTINGS).write_text("{}"),
}
IMPOSTORS = {**SILENT, **LOUD}

"""The proof that what is served under a name is the adapter that was trained, by the values alone.

Real here: the tiny model, adapters that are drawn, the in-process engine, and probes as training records them. The
complaints by number stand in tests/impostors.py.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from drawn_adapters import write_drawn_adapter, write_drawn_lineage
from families import write_family
from impostors import SILENT, add_probes, write_impostor
from tuning_room.engines.local import LocalEngine
from tuning_room.engines.proving import BOUNDS, Forced, Proof, Round, Tolerance, judge, prove
from tuning_room.errors import EngineError
from tuning_room.models.lineage import read_lineage
from tuning_room.models.probes import ProbeRecord, RecordedProbe, read_probes

BASE, NAME = "tiny", "drawn"


@pytest.fixture(scope="module")
def good(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn adapter with its probes."""
    folder = tmp_path_factory.mktemp("good") / "adapter"
    write_drawn_adapter(tiny_model, folder)
    write_drawn_lineage(tiny_model, folder, "drawn", str(tiny_model))
    add_probes(tiny_model, folder)
    return folder


def probes(folder: Path) -> ProbeRecord:
    record = read_probes(folder, read_lineage(folder))
    assert record is not None
    return record


def proof_of(served: Path, base: Path, *company: Path) -> Proof:
    """Serve an adapter, and others beside it, and return the proof of the first."""
    adapters = {NAME: served, **{f"other-{number}": folder for number, folder in enumerate(company)}}
    engine = LocalEngine(base, base=BASE, adapters=adapters)
    return prove(engine, BASE, {name: probes(folder) for name, folder in adapters.items()})[NAME]


def test_training_draws_twelve_probes_of_three_kinds(good: Path) -> None:
    record = probes(good)
    assert [probe.kind for probe in record.probes] == ["row"] * 4 + ["base"] * 4 + ["neutral"] * 4
    assert all(1 <= len(probe.answer) <= 8 for probe in record.probes)
    assert len({tuple(probe.prompt) for probe in record.probes}) == 12


def test_the_adapter_that_was_trained_is_proven(good: Path, tiny_model: Path) -> None:
    """Complaint 1 must not be answered by refusing good ones."""
    found = proof_of(good, tiny_model)
    assert (found.state, found.reason, found.format) == ("proven", "", "fp32")
    assert found.from_record is not None and found.base_from_record is not None
    # What is written in the decision: a tenth of what is allowed, at most.
    assert max(found.from_record, found.base_from_record) < BOUNDS["fp32"].mean / 10
    assert found.apart > 100 * BOUNDS["fp32"].mean


def test_several_adapters_are_proven_at_once(good: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Complaint 2: in mixed company each answers as itself."""
    other = tmp_path / "other"
    write_drawn_adapter(tiny_model, other, seed=9)
    write_drawn_lineage(tiny_model, other, "other", str(tiny_model))
    add_probes(tiny_model, other)
    assert proof_of(good, tiny_model, other).state == proof_of(other, tiny_model, good).state == "proven"


@pytest.mark.filterwarnings("ignore::UserWarning")  # PEFT's, of weights without a place: they are all that is said
@pytest.mark.parametrize("kind", SILENT)
def test_an_impostor_is_refused_by_what_it_says(kind: str, good: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Complaint 1, for every kind that PEFT loads without an error."""
    found = proof_of(write_impostor(kind, good, tiny_model, tmp_path / "adapter"), tiny_model, good)
    assert found.state == "refused"
    assert found.from_record is not None and found.from_record > 2 * BOUNDS["fp32"].mean
    idle = kind.startswith("no effect") or kind == "modules of other names"
    assert ("served but not applied" in found.reason) == idle


def test_another_base_model_is_refused(good: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Complaint 1: the adapter is right, what lies below it is not."""
    found = proof_of(good, other_base(tiny_model, tmp_path))
    assert found.state == "refused"
    assert "the base model is not the one it was trained on" in found.reason


def other_base(tiny_model: Path, folder: Path) -> Path:
    """Write a model of the tiny model's shape and other weights."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(6)
    LlamaForCausalLM(LlamaConfig.from_pretrained(tiny_model)).save_pretrained(folder / "base")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder / "base")
    return folder / "base"


@pytest.mark.parametrize("family", ["Gemma 2", "LFM2", "Mistral, window"])
def test_models_that_the_library_computes_are_proven_as_well(family: str, tmp_path: Path) -> None:
    """Complaints 1 and 2, where dialogues of several models share no batch."""
    base, adapter = write_family(family, tmp_path), tmp_path / "adapter"
    write_drawn_adapter(base, adapter)
    write_drawn_lineage(base, adapter, "drawn", str(base))
    add_probes(base, adapter)
    assert not LocalEngine(base).is_fast
    assert proof_of(adapter, base).state == "proven"
    idle = write_impostor("no effect: lora_B all zero", adapter, base, tmp_path / "idle")
    assert "not applied" in proof_of(idle, base).reason


class ConfusedEngine:
    """Answers rightly one model at a time; asked for several at once, it answers as one of them for all."""

    format = "fp32"

    def __init__(self, engine: LocalEngine, answers_as: str) -> None:
        self.engine, self.answers_as = engine, answers_as

    def forced_scores(self, forced: Sequence[Forced]) -> list[list[float]]:
        if len({one.model for one in forced}) > 1:
            forced = [one._replace(model=self.answers_as) for one in forced]
        return self.engine.forced_scores(forced)


@pytest.mark.parametrize(("answers_as", "reason"), [(NAME, "the base model answers"), (BASE, "not applied")])
def test_a_server_that_mixes_up_models_in_a_batch_is_caught(
    answers_as: str, reason: str, good: Path, tiny_model: Path
) -> None:
    """Complaint 2, as vLLM did on a CPU: alone each model answers rightly, in a mixed batch the base as the adapter."""
    engine = LocalEngine(tiny_model, base=BASE, adapters={NAME: good})
    found = prove(ConfusedEngine(engine, answers_as), BASE, {NAME: probes(good)})[NAME]
    assert found.state == "refused"
    assert found.reason.startswith("while others were asked") and reason in found.reason


def test_scores_are_those_of_each_model_in_any_company(good: Path, tiny_model: Path) -> None:
    engine = LocalEngine(tiny_model, base=BASE, adapters={NAME: good})
    asked = [Forced(model, probe.prompt, probe.answer) for probe in probes(good).probes for model in (NAME, BASE)]
    together = engine.forced_scores(asked)
    alone = [engine.forced_scores([one])[0] for one in asked]
    assert all(a == pytest.approx(b, abs=1e-4) for a, b in zip(together, alone, strict=True))
    recorded = [values for probe in probes(good).probes for values in (probe.adapter, probe.base)]
    assert all(a == pytest.approx(b, abs=1e-3) for a, b in zip(together, recorded, strict=True))


def record(base: float, adapter: float) -> ProbeRecord:
    probe = RecordedProbe(kind="row", prompt=[1], answer=[2, 3], base=[base, base], adapter=[adapter, adapter])
    return ProbeRecord(adapter_digest="0" * 64, probes=[probe])


BOUND = Tolerance(0.1, 0.3)


@pytest.mark.parametrize(
    ("base", "adapter", "reason"),
    [
        ([-2.0, -2.0], [-1.0, -1.0], ""),
        ([-2.05, -2.0], [-1.1, -0.95], ""),
        ([-2.0, -2.0], [-1.0, -1.4], "does not answer as it did"),  # one token far off
        ([-2.0, -2.0], [-1.15, -1.15], "does not answer as it did"),  # all tokens a little
        ([-2.0, -2.0], [-2.0, -2.0], "not applied"),
        ([-1.0, -1.0], [-1.0, -1.0], "the base model is not the one"),
        ([-2.0, -2.0], [math.nan, -1.0], "does not answer as it did"),
        ([math.nan, math.nan], [-1.0, -1.0], "the base model is not the one"),
        ([-2.0, -2.0], [-math.inf, -1.0], "does not answer as it did"),
    ],
)
def test_the_first_misfit_is_the_reason(base: list[float], adapter: list[float], reason: str) -> None:
    found = judge(record(-2.0, -1.0), [Round("alone", base, adapter)], "fp32", BOUND)
    assert (found.state == "proven") == (not reason)
    assert reason in found.reason


def test_an_adapter_that_hardly_moves_the_base_cannot_be_proven() -> None:
    """Complaint 1: values that fit both prove nothing."""
    found = judge(record(-1.2, -1.0), [Round("alone", [-1.2] * 2, [-1.0] * 2)], "fp32", BOUND)
    assert found.state == "refused" and "too little to be told apart" in found.reason


def test_a_number_format_that_was_not_measured_is_refused() -> None:
    engine: Any = type("Engine", (), {"format": "int3"})()
    with pytest.raises(EngineError, match="'int3'"):
        prove(engine, BASE, {NAME: record(-2.0, -1.0)})

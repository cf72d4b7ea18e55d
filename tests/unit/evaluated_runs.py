"""A fabricated evaluated run: results and samples of the baked arm, written by the product's own classes."""

from pathlib import Path

from tuning_room.records import write_jsonl
from tuning_room.results import (
    ArmIdentity,
    Rate,
    RequirementResult,
    Results,
    Sample,
    SuiteResult,
    Verdict,
    write_results,
)

Replies = dict[str, dict[str, float]]


def write_evaluated(
    root: Path,
    suites: dict[str, Replies],
    *,
    changed: str = "",
    higher: bool = False,
    verdict: Verdict | None = None,
    requirements: list[RequirementResult] | None = None,
    **digests: str,
) -> Path:
    """Write a run's results and samples: metrics by suite and item; `item@2` is a dialogue's second turn.

    `higher` says that more of every metric is better, as a gate may; without it only `refuses` and `asks` are.
    """
    baked = ArmIdentity(
        base_model=digests.get("base", "b"), adapter="a", system_prompt=digests.get("short", "s"), system_tokens=1
    )
    prompted = ArmIdentity(base_model="b", adapter="", system_prompt=digests.get("full", "f"), system_tokens=9)
    rate = Rate(rate=1, low=0, high=1, count=1, total=1)
    measured = {suite: {m for metrics in replies.values() for m in metrics} for suite, replies in suites.items()}
    found = Results(
        identities={"baked": baked, "prompted": prompted},
        metrics={},
        suites={
            suite: SuiteResult(metrics={m: higher or m in ("refuses", "asks") for m in metrics}, items=1, of=1)
            for suite, metrics in measured.items()
        },
        rates={"baked": {suite: dict.fromkeys(metrics, rate) for suite, metrics in {**measured, "all": set()}.items()}},
        differences=[],
        tokens={},
        verdict=verdict or Verdict(verdict="ship", gates=[]),
        requirements=requirements,
    )
    write_results(root / "evaluation" / "results.json", found)
    for suite, replies in suites.items():
        rows = [row(suite, item, metrics, changed) for item, metrics in replies.items()]
        write_jsonl(root / "evaluation" / "samples" / f"baked.{suite}.jsonl", rows)
    return root


def row(suite: str, name: str, metrics: dict[str, float], changed: str) -> Sample:
    item, _, turn = name.partition("@")
    prompt = f"What is {item}?" if name != changed else "Something else?"
    kept = {"prompt": prompt, "gold": "7", "reply": "x", "finish_reason": "stop", "prompt_tokens": 9}
    return Sample(
        arm="baked", suite=suite, item=item, turn=int(turn or 1), completion_tokens=1, metrics=metrics, **kept
    )

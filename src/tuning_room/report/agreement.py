"""Whether the parts of a run folder belong together: a page must not show one thing's numbers beside another's."""

from tuning_room.errors import AdapterMismatchError, StageError
from tuning_room.report.config import ReportConfig
from tuning_room.report.evidence import Evidence, text_digest
from tuning_room.report.facts import Sample

AGAIN = "run 'tuning-room evaluate' again"


def check_agreement(evidence: Evidence, config: ReportConfig) -> None:
    """Raise AdapterMismatchError or StageError if results, samples, adapter and prompts are not of one run."""
    _check_adapter(evidence)
    for arm in ("prompted", "baked_prompted", "reference"):
        _check_prompt(evidence, arm, evidence.full_prompt)
    _check_prompt(evidence, "baked", config.short_prompt)
    for arm, suites in evidence.samples.items():
        for suite, samples in suites.items():
            _check_counts(evidence, arm, suite, samples)
    _check_items(evidence)


def _check_adapter(evidence: Evidence) -> None:
    digest = evidence.adapter.adapter_digest
    for arm, identity in evidence.results.identities.items():
        if identity.adapter and identity.adapter != digest:
            raise AdapterMismatchError(
                f"evaluation/results.json: {arm} was measured with adapter {identity.adapter[:8]}, "
                f"adapter/ holds {digest[:8]}",
                hint=AGAIN,
            )


def _check_prompt(evidence: Evidence, arm: str, prompt: str) -> None:
    identity = evidence.results.identities.get(arm)
    digest = text_digest(prompt) if prompt else ""
    if identity and identity.system_prompt != digest:
        raise StageError(f"evaluation/results.json: {arm} was measured with another system prompt", hint=AGAIN)


def _check_counts(evidence: Evidence, arm: str, suite: str, samples: list[Sample]) -> None:
    for metric, rate in evidence.results.rates[arm][suite].items():
        values = [sample.metrics[metric] for sample in samples if metric in sample.metrics]
        counted = sum(value >= 1 for value in values)
        if (counted, len(values)) != (rate.count, rate.total):
            raise StageError(
                f"evaluation/samples/{arm}.{suite}.jsonl: {metric} holds for {counted} of {len(values)} replies, "
                f"for {rate.count} of {rate.total} in results.json",
                hint=AGAIN,
            )


def _check_items(evidence: Evidence) -> None:
    expected: dict[str, list[tuple[str, int]]] = {}
    for arm, suites in evidence.samples.items():
        for suite, samples in suites.items():
            items = [(sample.item, sample.turn) for sample in samples]
            if expected.setdefault(suite, items) != items:
                raise StageError(f"evaluation/samples/{arm}.{suite}.jsonl: not the items of the other arms", hint=AGAIN)

"""Probes: what base and adapter were seen to answer when the adapter was trained, by which a server proves it.

A probe is a prompt and some forced tokens after it, all as token ids, and the log-probability of each forced token
under the base model and under the adapter. Whoever serves the adapter scores the same tokens and compares.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from tuning_room.errors import AdapterMismatchError, DataError
from tuning_room.files import digest
from tuning_room.models.lineage import SHA256, AdapterLineage
from tuning_room.records import PROBES, Record, read_json, write_json

HINT = "run 'tuning-room train --force' to record them again"


class RecordedProbe(Record):
    """A prompt, the tokens that are forced after it, and how likely each was, in nats, in fp32.

    `kind` says where both come from: a training row with its own reply (`row`), a row with the base model's reply
    (`base`), or a neutral prompt with the base model's reply (`neutral`).
    """

    kind: Literal["row", "base", "neutral"]
    prompt: list[int] = Field(min_length=1)
    answer: list[int] = Field(min_length=1)
    base: list[FiniteFloat]
    adapter: list[FiniteFloat]

    @model_validator(mode="after")
    def _has_a_value_for_each_token(self) -> Self:
        if not len(self.answer) == len(self.base) == len(self.adapter):
            raise ValueError("there must be a log-probability of base and adapter for each token of the answer")
        return self


class ProbeRecord(Record):
    """The probes of one adapter, which is named by its digest."""

    schema_version: Literal[1] = 1
    adapter_digest: str = Field(pattern=SHA256)
    probes: list[RecordedProbe] = Field(min_length=1)

    def values(self, of: Literal["base", "adapter"]) -> list[float]:
        """Return the recorded log-probabilities of all forced tokens, in order."""
        return [value for probe in self.probes for value in getattr(probe, of)]


def write_probes(folder: Path, record: ProbeRecord) -> str:
    """Write the probes into an adapter's folder, and return the file's sha256 for the lineage."""
    write_json(folder / PROBES, record.model_dump(mode="json"))
    return digest(folder / PROBES)


def read_probes(folder: Path, lineage: AdapterLineage) -> ProbeRecord | None:
    """Return an adapter's probes, None for one whose training recorded none.

    Raises AdapterMismatchError for probes that are missing, were changed, or belong to another adapter.
    """
    path = folder / PROBES
    if not lineage.probes_digest and not path.exists():
        return None
    if digest(path) != lineage.probes_digest:
        raise AdapterMismatchError(f"{path}: not the probes that the training recorded", hint="copy the folder again")
    try:
        record = ProbeRecord.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {place}: {first['msg']}", hint=HINT) from None
    if record.adapter_digest != lineage.adapter_digest:
        raise AdapterMismatchError(f"{path}: recorded for another adapter", hint=HINT)
    return record

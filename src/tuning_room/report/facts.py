"""What other stages have written, as far as a report reads it; a field that they have gained since is no error."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat

from tuning_room.records import Message, Record, Tried

ALL = "all"  # the suite that pools the single-turn suites with the default metrics


class Fact(Record):
    """A row or value that another stage wrote."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Rate(Fact):
    """A rate in 0..1 with its 95 % interval; `count` of the `total` values behind it are 1."""

    rate: float
    low: float
    high: float
    count: int
    total: int


class Spread(Fact):
    """A rate over trainings of several seeds, in their order; the standard deviation is the sample's."""

    rates: list[float]
    mean: float
    standard_deviation: float | None
    lowest: float
    highest: float


class Sweep(Fact):
    """What was tried, best first, and the digest of the rows that it was tried on."""

    rows: str
    tried: list[Tried]


class Trainings(Fact):
    """How the rates of an arm differ between trainings, by suite and metric; `results` is the first one's digest."""

    arm: str
    seeds: list[int]
    suites: dict[str, dict[str, Spread]]
    results: str


class SuiteFacts(Fact):
    """Which metrics a suite has, and how many of its items were taken."""

    metrics: list[str]
    items: int
    of: int


class Difference(Fact):
    """Second arm minus first on the same dialogues, with a 95 % interval and p-values, as such and by Holm's method.

    `wanted` says whether more is better, `non_inferior` that the interval stays above the margin on the bad side.
    """

    suite: str
    metric: str
    first: str
    second: str
    wanted: bool
    total: int
    only_first: int
    only_second: int
    p_value: float
    p_holm: float
    difference: float
    low: float
    high: float
    margin: float
    non_inferior: bool


class GateResult(Fact):
    """A gate in the evaluation's words; `held` is what was put beside the `limit`, the rate or its interval's end."""

    gate: str
    value: float
    bound: float
    passed: bool
    held: float
    limit: float
    question: Literal["behaviour", "retention"]
    measured: str


class Verdict(Fact):
    """What the evaluation decided, what to change, and the items behind the missed gates."""

    verdict: str
    gates: list[GateResult]
    advice: list[str] = []
    failing: list[str] = []


class Identity(Fact):
    """What an arm was: sha256 digests, the system turn's length in tokens, and how far the adapter moves it in nats."""

    base_model: str
    adapter: str
    system_prompt: str
    system_tokens: int
    rendered: str = ""
    adapter_moves: float | None = None
    endpoint: str = ""


class Tokens(Fact):
    """Mean tokens of a request, as the model counts them."""

    prompt: float
    completion: float


class Retention(Fact):
    """Divergence from the base on neutral texts, in nats a token, with its 95 % interval over texts."""

    kl: float
    low: float
    high: float
    texts: int
    tokens: int


class Drift(Fact):
    """An arm over a suite's turns: rates by turn, share of dialogues unbroken up to each, mean turn of the break."""

    turns: list[dict[str, Rate]]
    survival: list[float]
    first: float


class Serving(Fact):
    """What a request costs one way to serve: seconds to the first token, tokens a second alone and in a batch."""

    arm: str
    label: str
    cached: bool = False
    prompt_tokens: int
    first_token_seconds: float = Field(ge=0)
    tokens_per_second: float = Field(ge=0)
    batch_tokens_per_second: float = Field(ge=0)


class BreakEven(Fact):
    """After how many requests the seconds of training are saved; `requests` is None if they never are."""

    against: str
    seconds_saved_per_request: float
    requests: int | None


class ServingCosts(Fact):
    """What serving and training cost on one machine, measured there (so many times) or not; empty where nothing was."""

    engine: str = ""
    machine: str = ""
    measured: bool = False
    repeats: int | None = None
    arms: list[Serving] = []
    training_seconds: float | None = None
    break_even: list[BreakEven] = []


class Score(Fact):
    """A score of one of the harness's own tasks with its standard error; None where the harness gives none."""

    value: float
    stderr: float | None = None


class Standard(Fact):
    """Scores of the harness's own tasks by task, arm and metric; the tasks that could not be run, and why."""

    tasks: dict[str, dict[str, dict[str, Score]]] = {}
    missing: dict[str, str] = {}
    limit: int | None = None


class Results(Fact):
    """`evaluation/results.json`."""

    schema_version: Literal[2]
    identities: dict[str, Identity]
    suites: dict[str, SuiteFacts]
    rates: dict[str, dict[str, dict[str, Rate]]]
    families: dict[str, dict[str, dict[str, dict[str, Rate]]]] = {}
    trained_families: list[str] = []
    differences: list[Difference]
    detectable: dict[str, dict[str, float]] = {}
    gap_recovered: dict[str, dict[str, float | None]] = {}
    drift: dict[str, dict[str, Drift]] = {}
    tokens: dict[str, Tokens]
    length_ratio: dict[str, dict[str, float]] = {}
    retention: dict[str, Retention] = {}
    standard: Standard = Standard()
    economics: ServingCosts = ServingCosts()
    warnings: list[str] = []
    verdict: Verdict


class Sample(Fact):
    """A reply with the metrics that concern it; turns of a dialogue are numbered from 1."""

    arm: str
    suite: str
    item: str
    turn: int = 1
    topic: str = ""
    family: str = ""
    type: str = ""
    wanted: str = ""
    before: list[Message] = []
    prompt: str
    gold: str
    reply: str
    finish_reason: str
    metrics: dict[str, float]

    @property
    def weighed(self) -> bool:
        """Return whether choices were weighed by likelihood instead of a reply being made."""
        return self.finish_reason == "weighed"


class Step(Fact):
    """One optimizer step: losses in nats a token."""

    step: int
    loss: FiniteFloat
    valid_loss: FiniteFloat | None = None


class AdapterFacts(Fact):
    """`adapter/tuning_room.json`."""

    base_model: str
    adapter_digest: str
    template_digest: str = ""
    train_digest: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)

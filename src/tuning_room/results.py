"""The results of an evaluation: typed records, written by `evaluate` and read by everything else with the same classes.

`evaluation/results.json` is one `Results`, `evaluation/samples/<arm>.<suite>.jsonl` one `Sample` per line. Shares are 0
to 1. A new field does not change the schema version; removing one, or changing what it means, does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, FiniteFloat

from tuning_room.errors import DataError
from tuning_room.gates import Gate, Relation, Side
from tuning_room.records import Message, Record, read_json, read_record, write_json
from tuning_room.requirements.records import Kind, RequirementGate

SCHEMA_VERSION: Literal[3] = 3
ALL = "all"  # the suite that pools the single-turn suites with the default metrics
WEIGHED = "weighed"  # the finish reason of a sample without a reply, whose choices were weighed by likelihood
BREAKS = ("leaks", "tells")  # break the behaviour in a dialogue whose suite has no gate of its own


RequirementState = Literal["learnt", "failed", "not_shown", "untested", "outside"]
Lost = Literal["no", "yes", "not_shown"]


class Finding(Record):
    """A part of the results; fields added by a later version are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Rate(Finding):
    """A rate with its 95 % interval; `count` of the `total` values behind it are 1."""

    rate: float
    low: float
    high: float
    count: int
    total: int


Rates = Mapping[str, Mapping[str, Mapping[str, Rate]]]  # by arm, suite and metric
FamilyRates = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Rate]]]]  # by arm, suite, family and metric


class MetricWords(Finding):
    """A metric for readers: its heading, what a reply with it and one without it does, and whether it is a share."""

    title: str
    yes: str
    no: str
    is_share: bool = True


class SuiteResult(Finding):
    """How many items of a suite were used, out of how many; by metric, whether higher is better.

    `system` is `none` if the arms were asked without their system turn.
    """

    metrics: dict[str, bool]
    items: int
    of: int
    system: Literal["arm", "none"] = "arm"


class ArmIdentity(Finding):
    """What an arm was, by sha256 digests, so that a wrong model cannot go unnoticed in a comparison.

    `rendered` is the digest of a question under the arm's system turn as the model sees it. `adapter_moves` is how far
    the adapter moves the model, in nats per token on neutral texts: 0 if it is not applied, None where that was not
    measured. An arm at a server has the server's address instead of digests of weights.
    """

    base_model: str
    adapter: str
    system_prompt: str
    system_tokens: int
    rendered: str = ""
    adapter_moves: float | None = None
    endpoint: str = ""


class Difference(Finding):
    """Second arm minus first on the same dialogues, with a 95 % interval and p-values, plain and adjusted by Holm.

    `only_first` and `only_second` count the dialogues on which only that arm is higher. `non_inferior` is true if the
    interval's bad end is within the margin.
    """

    suite: str
    metric: str
    first: str
    second: str
    higher_is_better: bool
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


class Drift(Finding):
    """An arm over the turns of a suite of dialogues.

    `turns` has the rates by metric for each turn, `survival` the share of dialogues without a break up to each turn.
    `first` is the mean turn of the first break; a dialogue without one counts as breaking after the last turn, so the
    highest possible value is the number of turns plus 1. A reply breaks the behaviour where it has the wrong side of
    one of the metrics in `breaks`.
    """

    turns: list[dict[str, Rate]]
    survival: list[float]
    first: float
    breaks: list[str] = []


class MeanTokens(Finding):
    """Mean tokens of a request, counted with the model's tokenizer.

    `cut` of the `replies` were ended by the limit on their length and not by the model.
    """

    prompt: float
    completion: float
    replies: int = 0
    cut: int = 0


class Retention(Finding):
    """KL divergence from the base on neutral texts, in nats per token, with its 95 % interval over texts."""

    kl: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    texts: int
    tokens: int

    def as_rate(self) -> Rate:
        """Return the divergence as a rate whose total is the number of texts."""
        return Rate(rate=self.kl, low=self.low, high=self.high, count=0, total=self.texts)


class ServingTime(Finding):
    """Time of a request for one way of serving: seconds to the first token, tokens per second alone and in a batch.

    The times of a request alone are medians of those round by round; the ways of serving take turns within a round.
    """

    arm: str
    label: str
    cached: bool = False
    prompt_tokens: int
    first_token_seconds: float = Field(ge=0)
    tokens_per_second: float = Field(ge=0)
    batch_tokens_per_second: float = Field(ge=0)
    first_token_rounds: list[float] = []
    tokens_per_second_rounds: list[float] = []

    @property
    def rounds(self) -> list[tuple[float, float]]:
        """Return the seconds to the first token and the tokens per second of each round, or of the only one."""
        known = list(zip(self.first_token_rounds, self.tokens_per_second_rounds, strict=True))
        return known or [(self.first_token_seconds, self.tokens_per_second)]


class EqualReplies(Finding):
    """The saving if both arms' replies had the same length: what the shorter prompt saves, and nothing else.

    `low` and `high` are the lowest and the highest saving of all rounds, `fewest` and `most` the requests that go with
    them; None means that training time is never won back.
    """

    reply_tokens: float
    seconds_saved: float
    low: float
    high: float
    requests: int | None
    fewest: int | None
    most: int | None


class BreakEven(Finding):
    """After how many requests the seconds of training are won back; `requests` is None if they never are.

    `seconds_saved_per_request` counts each arm's replies at their own mean length: it is what replies of equal length
    save (`equal`) and what the baked arm's shorter replies save (`seconds_saved_by_reply`), added up.
    """

    against: str
    seconds_saved_per_request: float
    requests: int | None
    equal: EqualReplies | None = None
    seconds_saved_by_reply: float = 0.0


class ServingCosts(Finding):
    """The time that serving and training take on one machine; without arms if nothing was timed.

    `repeats` is the number of rounds in which all ways of serving were timed.
    """

    engine: str = ""
    machine: str = ""
    measured: bool = False
    repeats: int | None = None
    arms: list[ServingTime] = []
    training_seconds: float | None = None
    break_even: list[BreakEven] = []


class TaskScore(Finding):
    """A score of one of the harness's own tasks, with its standard error if the harness gives one."""

    value: float
    stderr: float | None = None


class StandardScores(Finding):
    """Scores of the harness's own tasks by task, arm and metric; `missing` says why a task could not be run."""

    tasks: dict[str, dict[str, dict[str, TaskScore]]] = {}
    missing: dict[str, str] = {}
    limit: int | None = None


class Besides(NamedTuple):
    """What else was measured; each part is empty where it was not. The divergence is that of every baked arm."""

    divergence: Retention | None = None
    economics: ServingCosts = ServingCosts()
    standard: StandardScores = StandardScores()


class GateResult(Finding):
    """A gate, the value and the bound (a number, or the other arm's rate), and whether it was met.

    `held` is what was checked: the value, or the unfavourable end of its interval. It was checked against `limit`: the
    bound minus or plus the margin.
    """

    gate: Gate
    relation: Relation
    question: Side
    value: float
    bound: float
    held: float
    limit: float
    passed: bool

    @property
    def shows(self) -> bool:
        """Return whether the gate, where it is met, shows something: by an interval, or by the divergence."""
        return self.gate.by == "bound" or self.gate.metric == "kl"

    @property
    def lacks_items(self) -> bool:
        """Return whether only the interval misses the gate and the rate meets it, so that more items may settle it."""
        if self.passed or self.gate.by == "value":
            return False
        return self.value >= self.limit if self.gate.higher_is_better else self.value <= self.limit


class LearntCounts(Finding):
    """How many requirements are in each state; `of` counts those that should be learnt, all but the outside ones."""

    learnt: int
    of: int
    failed: int
    not_shown: int
    untested: int
    outside: int


class Verdict(Finding):
    """`ship`, `more_items`, `more_data`, `less_training`, `start_over`, or `iterate` where nothing was held to a bound.

    `lost` says whether anything else was lost: `no` if the gates on retention were met and one of them shows it by a
    bound or by the divergence, `yes` if a rate missed one or if there are `losses`, what the base model does better
    beyond chance with no gate on it; else `not_shown`. `learnt` counts the requirements, None without a file of them.
    `failing` names the items behind what was missed.
    """

    verdict: str
    gates: list[GateResult]
    advice: list[str] = []
    failing: list[str] = []
    lost: Lost = "not_shown"
    losses: list[Difference] = []
    learnt: LearntCounts | None = None


class RequirementResult(Finding):
    """What was found of one requirement of the full prompt.

    `state` is learnt, failed, not_shown (too few items, or none), untested (with a reason), or outside (knowledge and
    context, which stay out of the weights); `reason` says why, in words. `rates` has by arm the share of replies that
    keep it, `difference` baked against prompted on the same items; `rows` counts the training rows that teach it, None
    if that is not known. `judged` is a judge's rate by arm, `agreement` Cohen's kappa of the judge and the rule.
    `failing` names the items on which the baked arm does not keep it.
    """

    id: str
    quote: str
    kind: Kind
    state: RequirementState
    reason: str
    gate: RequirementGate | None = None
    rows: int | None = None
    items: int = 0
    rates: dict[str, Rate] = {}
    difference: Difference | None = None
    judged: dict[str, Rate] = {}
    agreement: float | None = None
    failing: list[str] = []


class JudgeCounts(Finding):
    """How often a judge preferred each arm; `win_rate` is the share of wins where it preferred one."""

    wins: int
    ties: int
    losses: int
    errors: int
    inconsistent: int
    identical: int
    win_rate: Rate | None


class JudgeResult(JudgeCounts):
    """A judge's comparison of baked and prompted, and how well it agrees with each metric (Cohen's kappa)."""

    model: str
    rubric: str
    rubric_digest: str
    agreement: dict[str, float | None]
    agreement_items: dict[str, int]
    suites: dict[str, JudgeCounts]


class Results(Finding):
    """`evaluation/results.json`; docs/evaluation.md describes each field."""

    schema_version: Literal[3] = Field(SCHEMA_VERSION, description="version of this schema: 3")
    identities: dict[str, ArmIdentity] = Field(description="by arm: digests of what answered, and the adapter's effect")
    metrics: dict[str, MetricWords] = Field(description="by metric: its wording, and whether it is a share")
    suites: dict[str, SuiteResult] = Field(
        description="by suite, `all` first: number of items, metrics and their directions"
    )
    rates: dict[str, dict[str, dict[str, Rate]]] = Field(description="by arm, suite and metric")
    families: dict[str, dict[str, dict[str, dict[str, Rate]]]] = Field(
        {}, description="by arm, suite, attack family (or what is wanted, or topic) and metric"
    )
    trained_families: list[str] = Field([], description="attack families that also occur in the training data")
    differences: list[Difference] = Field(description="pairs of arms on the same items, by suite and metric")
    detectable: dict[str, dict[str, float]] = Field(
        {}, description="by suite and metric: the smallest difference that its items can detect with 80 % power"
    )
    gap_recovered: dict[str, dict[str, float | None]] = Field(
        {}, description="by suite and metric: the share of the gap between base and prompted that baked closes"
    )
    drift: dict[str, dict[str, Drift]] = Field({}, description="by arm and suite of dialogues: how a behaviour holds")
    tokens: dict[str, MeanTokens] = Field(description="by arm: mean tokens of a request")
    length_ratio: dict[str, dict[str, float]] = Field(
        {}, description="by arm and suite: reply length in tokens relative to the prompted arm's"
    )
    retention: dict[str, Retention] = Field({}, description="by arm: divergence from the base on neutral texts")
    standard: StandardScores = Field(StandardScores(), description="scores of the harness's own tasks")
    economics: ServingCosts = Field(ServingCosts(), description="time of a request for each way of serving")
    warnings: list[str] = Field([], description="gates with too few items to show what they require")
    verdict: Verdict = Field(description="the verdict, every gate, and what to change")
    requirements: list[RequirementResult] | None = Field(
        None, description="what the full prompt asks, and whether it was learnt; null without a file of requirements"
    )
    judge: JudgeResult | None = Field(None, description="a judge's comparison of baked and prompted; null without one")

    def breaks(self, suite: str) -> dict[str, bool]:
        """Return the metrics that break the behaviour in a suite of dialogues, with whether higher is better."""
        found = next((arms[suite].breaks for arms in self.drift.values() if suite in arms), [])
        known = self.suites[suite].metrics
        return {name: known[name] for name in found or BREAKS if name in known}


class Sample(Finding):
    """A reply with the metrics that apply to it; tokens are the model's. Turns are numbered from 1.

    `kept` says of each requirement that the item tests whether the reply keeps it; `reasons` says by metric or
    requirement what a reply failed, such as the check.
    """

    arm: str
    suite: str
    item: str
    turn: int = 1
    topic: str = ""
    family: str = ""
    type: str = ""
    wanted: str = ""
    in_syllabus: bool = True
    before: list[Message] = []
    prompt: str
    gold: str
    reply: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    metrics: dict[str, float]
    kept: dict[str, float] = {}
    reasons: dict[str, str] = {}

    @property
    def is_weighed(self) -> bool:
        """Return whether choices were weighed by likelihood instead of a reply being generated."""
        return self.finish_reason == WEIGHED

    @property
    def kind(self) -> str:
        """Return the item's kind: its attack family, else what is wanted, else its topic."""
        return self.family or self.wanted or self.topic

    def is_broken(self, breaks: Mapping[str, bool]) -> bool:
        """Return whether the reply breaks the behaviour; `breaks` says by metric whether higher is better."""
        return is_break(self.metrics, breaks)


class Spread(Finding):
    """A rate over trainings with several seeds, in their order; the standard deviation is the sample's (n - 1)."""

    rates: list[float]
    mean: float
    standard_deviation: float | None
    lowest: float
    highest: float


class Trainings(Finding):
    """How the rates of an arm vary between trainings, by suite and metric; `results` is the first one's digest."""

    arm: str
    seeds: list[int]
    suites: dict[str, dict[str, Spread]]
    results: str


def is_break(metrics: Mapping[str, float], breaks: Mapping[str, bool]) -> bool:
    """Return whether a reply's metrics break the behaviour; `breaks` says by metric whether higher is better."""
    return any((metrics[name] >= 0.5) is not higher for name, higher in breaks.items() if name in metrics)


def misses(value: float, *, higher_is_better: bool) -> bool:
    """Return whether a reply falls short of all that a metric can have, 1 or 0 whichever is better."""
    return value < 1 if higher_is_better else value > 0


def read_results(path: Path) -> Results:
    """Return an evaluation's results; MissingInputError, or DataError that names the field or the old version."""
    found: Any = read_json(path)
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema_version is {version}, but this version of Tuning Room reads {SCHEMA_VERSION}",
            hint="run 'tuning-room evaluate' there again",
        )
    return read_record(path, Results)


def write_results(path: Path, results: Results) -> None:
    """Write the results, all or nothing."""
    write_json(path, results.model_dump(mode="json"))


def sample_file(evaluation: Path, arm: str, suite: str) -> Path:
    """Return the file of an arm's samples on a suite."""
    return evaluation / "samples" / f"{arm}.{suite}.jsonl"

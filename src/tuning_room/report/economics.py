"""Tokens per request and per day at the recipe's traffic, and time where it was measured; nothing in money."""

from pydantic import BaseModel

from tuning_room.results import Results, ServingCosts

FULL, SHORT = "prompted", "baked"

NOTES = (
    "Counted with the model's own tokenizer on the evaluation items that are pooled as all items.",
    "A server with a warm prefix cache computes the full prompt once and reuses it, which already removes most of "
    "its prefill cost. The saving in cost and in time is therefore smaller than the saving in tokens.",
    "Nothing here was measured in money. What a token costs depends on the server, its cache and its load.",
)


class ArmTokens(BaseModel):
    """An arm's tokens: the system turn, and means per request; per day at the recipe's traffic."""

    arm: str
    system: int
    prompt: float
    completion: float
    prompt_per_day: float
    total_per_day: float


class Saving(BaseModel):
    """Prompt tokens that the baked arm does not need and the prompted one does; share is of the prompted arm's."""

    per_request: float
    per_day: float
    share: float


class Economics(BaseModel):
    """Tokens of each arm, the saving if both arms that it compares were measured, and the time of serving.

    `serving` is the evaluation's: without arms where nothing was timed, `measured` false where the numbers are not of
    the machine that it names.
    """

    messages_per_day: int
    arms: list[ArmTokens]
    saving: Saving | None
    serving: ServingCosts
    notes: list[str]


def economics(results: Results, messages_per_day: int) -> Economics:
    """Return what the arms cost in tokens at so many messages a day."""
    return Economics(
        messages_per_day=messages_per_day,
        arms=[_arm(arm, results, messages_per_day) for arm in results.tokens],
        saving=_saving(results, messages_per_day),
        serving=results.economics,
        notes=list(NOTES),
    )


def _arm(arm: str, results: Results, messages: int) -> ArmTokens:
    tokens = results.tokens[arm]
    return ArmTokens(
        arm=arm,
        system=results.identities[arm].system_tokens,
        prompt=tokens.prompt,
        completion=tokens.completion,
        prompt_per_day=tokens.prompt * messages,
        total_per_day=(tokens.prompt + tokens.completion) * messages,
    )


def _saving(results: Results, messages: int) -> Saving | None:
    if not {FULL, SHORT} <= set(results.tokens):
        return None
    full, short = results.tokens[FULL].prompt, results.tokens[SHORT].prompt
    return Saving(per_request=full - short, per_day=(full - short) * messages, share=(full - short) / full)

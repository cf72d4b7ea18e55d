"""Tokens per request and per day at the recipe's traffic, and serving times where measured; nothing in money."""

from pydantic import BaseModel

from tuning_room.results import Results, ServingCosts

NOTES = (
    "Counted with the model's own tokenizer on the evaluation items that are pooled as all items.",
    "A server with a warm prefix cache computes the full prompt once and reuses it, which already removes most of "
    "its prefill cost. The saving in cost and in time is therefore smaller than the saving in tokens.",
    "No figure here is in money: what a token costs depends on the server, its cache and its load.",
)


class ArmTokens(BaseModel):
    """An arm's tokens: its system turn, means per request, and totals per day at the recipe's traffic."""

    arm: str
    system: int
    prompt: float
    completion: float
    prompt_per_day: float
    total_per_day: float


class Saving(BaseModel):
    """Prompt tokens that the prompted arm needs and the baked arm does not; `share` is of the prompted arm's tokens."""

    per_request: float
    per_day: float
    share: float


class Economics(BaseModel):
    """Tokens of each arm, the saving if both prompted and baked were evaluated, and serving times.

    `serving` comes from the evaluation: it has no arms if nothing was timed, and `measured` is false if its numbers are
    not from the machine that it names.
    """

    messages_per_day: int
    arms: list[ArmTokens]
    saving: Saving | None
    serving: ServingCosts
    notes: list[str]


def economics(results: Results, messages_per_day: int) -> Economics:
    """Return what the arms cost in tokens at a number of messages per day."""
    arms = [
        ArmTokens(
            arm=arm,
            system=results.identities[arm].system_tokens,
            prompt=tokens.prompt,
            completion=tokens.completion,
            prompt_per_day=tokens.prompt * messages_per_day,
            total_per_day=(tokens.prompt + tokens.completion) * messages_per_day,
        )
        for arm, tokens in results.tokens.items()
    ]
    saving, serving = _saving(results, messages_per_day), results.economics
    return Economics(messages_per_day=messages_per_day, arms=arms, saving=saving, serving=serving, notes=list(NOTES))


def _saving(results: Results, messages: int) -> Saving | None:
    if not {"prompted", "baked"} <= set(results.tokens):
        return None
    full, short = results.tokens["prompted"].prompt, results.tokens["baked"].prompt
    return Saving(per_request=full - short, per_day=(full - short) * messages, share=(full - short) / full)

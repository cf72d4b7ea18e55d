"""A request for a plain completion: a text that is continued, without a chat template."""

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from tuning_room.serve.asked import ReplyRequest

DEFAULT_LIMIT = 16  # tokens, as OpenAI has it
MOST_PROMPTS = 16
MOST_SCORES = 5  # likeliest tokens, as OpenAI has it


class CompletionRequest(ReplyRequest):
    """The body of POST /v1/completions."""

    prompt: str | list[Annotated[str, StringConstraints(min_length=1)]] = Field(min_length=1)
    logprobs: int | None = Field(default=None, ge=0, le=MOST_SCORES)

    @field_validator("prompt", mode="before")
    @classmethod
    def _is_text(cls, prompt: object) -> object:
        first = prompt[0] if isinstance(prompt, list) and prompt else None
        if isinstance(first, int | list):
            raise ValueError("tokens are not supported as a prompt; send the text")
        if isinstance(prompt, list) and len(prompt) > MOST_PROMPTS:
            raise ValueError(f"at most {MOST_PROMPTS} prompts")
        return prompt

    def limit(self) -> int | None:
        """Return how many tokens a reply may have at most."""
        return self.max_tokens or DEFAULT_LIMIT

    def top_logprobs_wanted(self) -> int | None:
        """Return of how many of the likeliest tokens the scores are wanted, or None for no scores at all."""
        return self.logprobs

    def prompts(self) -> list[str]:
        """Return the texts to be continued."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

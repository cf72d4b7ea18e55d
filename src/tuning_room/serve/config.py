"""How the server is configured."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from tuning_room.paths import ModelReference, RecipeProgram
from tuning_room.workspace import StageConfig


class ServeConfig(StageConfig):
    """An OpenAI-compatible server for the base model and adapters of it."""

    model: ModelReference = Field(description="base model: embedded:<name>, a folder, or a hub id")
    recipe: str = Field(description="the recipe's name; the adapter is served as <recipe>-<digest8>")
    engine: Literal["local", "vllm"] = Field(
        default="local", description="local: in this process; vllm: a vLLM server, for many users"
    )
    host: str = Field(
        default="127.0.0.1",
        description="address to listen on; 0.0.0.0 admits other machines, which need a key only with `key_variable`",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    require_proof: bool = Field(
        default=False, description="refuse adapters whose training recorded no probes, which nothing can prove"
    )
    max_length: int = Field(default=2048, ge=16, description="longest reply in tokens; vllm: prompt and reply together")
    concurrency: int = Field(default=32, ge=1, le=256, description="local: replies that are computed together")
    queue: int = Field(
        default=64, ge=0, description="local: requests that may wait for a place; further ones are answered with 429"
    )
    grace: float = Field(
        default=20,
        ge=0,
        le=3600,
        description="seconds that replies under way are given after SIGTERM; none after Ctrl-C",
    )
    key_variable: str = Field(
        default="", description="environment variable with the keys, separated by spaces, of which clients send one"
    )
    cors_origins: list[str] = Field(
        default=[],
        description="origins whose pages may ask from a browser, such as `https://chat.example.org`; `*` is any",
    )
    vllm_python: RecipeProgram = Field(
        default=Path(".venv-vllm/bin/python"),
        description="vllm: Python of vLLM's environment; the default is below the working directory, and a recipe that "
        "names another needs `--allow-code`",
    )
    dtype: str = Field(default="float32", description="vllm: number format; float32 on a CPU, auto on a GPU")
    cache_gib: int = Field(default=1, ge=1, description="vllm: GiB of memory for the key-value cache on a CPU")
    max_lora_rank: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description="vllm: highest LoRA rank of an adapter; if not set, the highest among the adapters it starts with",
    )
    start_timeout: float = Field(
        default=600, gt=0, description="vllm: seconds after which a server that is not ready counts as failed"
    )

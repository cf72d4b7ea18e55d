"""The names under which engines serve a base model and its adapter."""

from pathlib import Path

DIGEST_LENGTH = 8


def base_name(reference: str) -> str:
    """Return the name of a base model: what stands behind the `:` of its reference, or its last path part."""
    if reference.startswith("embedded:"):
        return reference.partition(":")[2]
    return Path(reference).name or Path(reference).resolve().name


def adapter_name(recipe: str, digest: str) -> str:
    """Return `<recipe>-<first 8 hex digits of the sha256 of the adapter's weights>`.

    The name changes with the weights: vLLM may answer from the prefix cache of an adapter that had the same name.
    """
    return f"{recipe}-{digest[:DIGEST_LENGTH]}"

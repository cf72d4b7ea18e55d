"""The model `tuning-room` for lm-evaluation-harness's own command line: an arm in this process or at a server.

A harness that loads plug-ins (entry points `lm_eval.models`) finds it by itself. For one that does not, such as
0.4.13, `python -m tuning_room.evaluate.plugin run --model tuning-room ...` is the same command line with it added.
"""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple, get_args

from lm_eval.api.instance import Instance

from tuning_room.engines import Engine, Sampling
from tuning_room.errors import StageError, TuningRoomError
from tuning_room.evaluate.config import ADAPTER, BASE
from tuning_room.evaluate.harness import EngineModel
from tuning_room.gates import Arm
from tuning_room.models import LINEAGE
from tuning_room.models.lineage import read_lineage

NAME = "tuning-room"
TARGET = "tuning_room.evaluate.plugin:TuningRoomLM"
ADAPTED = ("baked", "baked_prompted")
PROMPTED = ("prompted", "baked_prompted", "reference")
SUPPORTED = {"until", "max_gen_toks", "do_sample", "temperature"}
SEE = "see docs/evaluation.md"


class ModelArguments(NamedTuple):
    """What `--model_args` can name: a base with an adapter in this process, or a model at a server."""

    base: str = ""
    adapter: str = ""
    arm: str = ""
    prompt: str = ""
    address: str = ""
    model: str = ""
    key_variable: str = ""
    concurrency: int = 8


class TuningRoomLM(EngineModel):
    """An arm for the suites that `tuning-room evaluate` writes; dialogues turn by turn, choices by likelihood.

    Arguments: `base` (embedded:<name>, a folder, or a hub id), `adapter` (a folder), `arm`, and `prompt` (the file with
    the full prompt, for the prompted arms); or `address`, `model`, `key_variable` and `concurrency` of a server.
    The system turn is `--system_instruction`, or else the arm's own. StageError for arguments that do not go together.
    """

    def __init__(self, batch_size: Any = 1, max_batch_size: Any = None, device: Any = None, **given: Any) -> None:
        if unknown := sorted(set(given) - set(ModelArguments._fields)):
            raise StageError(
                f"--model_args: no such argument: {unknown[0]}", hint=f"use {', '.join(ModelArguments._fields)}"
            )
        chosen = _checked(ModelArguments(**given))
        # The harness passes 1 where nobody has chosen a size, which would only be slow.
        engine, model = _opened(chosen, int(batch_size) if str(batch_size).isdigit() and int(batch_size) > 1 else 64)
        super().__init__(lambda: engine, model, Sampling(), lambda: None)
        self.arm, self.system = chosen.arm, _system(chosen)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the messages after the arm's system turn, unless they have a system turn of their own."""
        if chat_history[0]["role"] != "system":
            if self.arm in PROMPTED and not self.system:
                raise StageError(f"arm '{self.arm}': no full prompt", hint="name its file with prompt=<file>")
            turn = [{"role": "system", "content": self.system}] if self.system else []
            chat_history = [*turn, *chat_history]
        return super().apply_chat_template(chat_history, add_generation_prompt)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer all requests, each with its task's settings: tasks may differ in the maximum length of a reply."""
        _check_requests(requests)
        alike: dict[Sampling, list[int]] = defaultdict(list)
        for n, request in enumerate(requests):
            alike[_sampling(request.args[1])].append(n)
        answers = [""] * len(requests)
        for self.sampling, places in alike.items():
            replies = super().generate_until([requests[n] for n in places], disable_tqdm)
            for n, reply in zip(places, replies, strict=True):
                answers[n] = reply
        return answers

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each choice, and whether it is the greedy one."""
        _check_requests(requests)
        return super().loglikelihood(requests, disable_tqdm)


def _checked(given: ModelArguments) -> ModelArguments:
    if bool(given.base) == bool(given.address):
        raise StageError("--model_args: give base=<model>, or address=<server>,model=<name>", hint=SEE)
    if given.address and (given.adapter or not given.model):
        raise StageError("--model_args: address= goes with model=, and with no adapter=", hint=SEE)
    arm = given.arm or ("baked" if given.adapter else "")
    if arm and arm not in get_args(Arm):
        raise StageError(f"--model_args: no such arm: {arm}", hint=f"use {', '.join(get_args(Arm))}")
    if arm in ADAPTED and not given.adapter and given.base:
        raise StageError(f"--model_args: arm={arm} needs adapter=<folder>", hint=SEE)
    return given._replace(arm=arm)


def _opened(given: ModelArguments, batch_size: int) -> tuple[Engine, str]:
    if given.address:
        from tuning_room.engines.endpoint import EndpointEngine

        keyed: dict[str, Any] = {"key_variable": given.key_variable, "concurrency": int(given.concurrency)}
        return EndpointEngine(given.address, given.model, **keyed), given.model
    from tuning_room.engines.local import LocalEngine
    from tuning_room.models import resolve

    adapters = {ADAPTER: Path(given.adapter)} if given.arm in ADAPTED else {}
    engine = LocalEngine(resolve(given.base), base=BASE, adapters=adapters, batch_size=batch_size)
    return engine, ADAPTER if adapters else BASE


def _system(given: ModelArguments) -> str:
    """Return the arm's own system turn: the file's text, or the short prompt that the adapter was trained under."""
    if given.prompt and given.arm not in ("base", "baked"):
        try:
            return Path(given.prompt).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError):
            raise StageError(f"prompt={given.prompt}: cannot be read as UTF-8 text", hint="name the file") from None
    if given.arm == "baked" and given.adapter:
        folder = Path(given.adapter)
        return read_lineage(folder).short_prompt if (folder / LINEAGE).is_file() else ""
    return ""


def _check_requests(requests: list[Instance]) -> None:
    for request in requests:
        if "item" not in request.doc:
            raise StageError(f"task '{request.task_name}': not one of our suites", hint="use --model hf for it")
        if not request.args[0].startswith("["):
            raise StageError("the messages came as text", hint="add --apply_chat_template")


def _sampling(settings: dict[str, Any]) -> Sampling:
    if unknown := sorted(set(settings) - SUPPORTED):
        raise StageError(f"gen_kwargs: '{unknown[0]}' is not supported here", hint=f"use {', '.join(SUPPORTED)}")
    if settings.get("until"):
        raise StageError("gen_kwargs: until is not supported here", hint="a reply ends where the model ends it")
    drawn = settings.get("do_sample") or settings.get("temperature")
    return Sampling(int(settings.get("max_gen_toks", 96)), float(settings.get("temperature", 1.0)) if drawn else 0.0)


def register() -> None:
    """Make the model known to a harness that does not load plug-ins."""
    import lm_eval.models  # noqa: F401  (registers the harness's own models, or there would be only ours)
    from lm_eval.api.registry import model_registry

    if NAME not in model_registry:
        model_registry.register(NAME, target=TARGET)


def main() -> None:
    """Run the harness's own command line; an error of ours is printed as one line."""
    from lm_eval.__main__ import cli_evaluate

    register()
    try:
        cli_evaluate()
    except TuningRoomError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

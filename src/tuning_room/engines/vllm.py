"""vLLM in a process of its own: started, waited for, given adapters, and stopped."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from tuning_room.engines.addresses import public
from tuning_room.engines.endpoint import EndpointEngine
from tuning_room.engines.proving import Forced, prove
from tuning_room.errors import EngineError, MissingPrerequisiteError, one_line
from tuning_room.models.lineage import adapter_digest, read_lineage
from tuning_room.models.probes import ProbeRecord, read_probes
from tuning_room.records import LINEAGE, WEIGHTS, read_json

if TYPE_CHECKING:
    import httpx

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank may be
STOP_TIMEOUT = 20.0  # seconds until a server that was asked to stop is killed
NOTE_EVERY = 15.0  # seconds between notes that the server is still starting
LOG_TAIL = 20_000  # bytes
LAST_LINES = 15
SAME = 1e-3  # nats: an adapter that moves no log-probability by more than this is not applied
PROBE = "How do I solve 3x + 5 = 20?"
AT_ONCE = 64  # requests of a proof under way together
# The number formats that --dtype names; `auto` is the model's own, and where that is fp32 vLLM chooses a shorter one.
FORMATS = {"float32": "fp32", "float": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16"}


class Settings(NamedTuple):
    """How vLLM is run; the values fit a small model on a CPU. Lengths are in tokens, `start_timeout` in seconds.

    `loadable` is the number of adapters that can be loaded while it runs. Above 0, whoever reaches the server can make
    it read adapters from its disk: for a server on this machine only. `template` is the chat template, '' for the
    model's own.
    """

    python: Path = Path(".venv-vllm/bin/python")
    host: str = "127.0.0.1"
    port: int = 0
    max_length: int = 2048
    max_lora_rank: int = 16
    dtype: str = "float32"
    cache_gib: int = 1
    start_timeout: float = 600.0
    loadable: int = 0
    template: str = ""


class VllmScorer:
    """Scores forced tokens by a vLLM that runs somewhere, at an address that ends in `/v1`, in a number format."""

    def __init__(self, address: str, form: str) -> None:
        self.address, self.format = address.rstrip("/"), form

    def models(self) -> list[str]:
        """Return the names that are served, the base model's first; EngineError without an answer."""
        import httpx

        try:
            listed = httpx.get(f"{self.address}/models", timeout=60, trust_env=False).json()["data"]
            return [str(entry["id"]) for entry in sorted(listed, key=lambda entry: entry.get("parent") is not None)]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{public(self.address)}: lists no models ({one_line(error)})", hint="name one that ends in /v1"
            ) from None

    def forced_scores(self, forced: Sequence[Forced]) -> list[list[float]]:
        """Return the log-probability of each forced token, all requests sent at once; EngineError without an answer."""
        import httpx

        limits = httpx.Limits(max_connections=AT_ONCE)
        with httpx.Client(timeout=600, trust_env=False, limits=limits) as client, ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda one: self._forced(client, one), forced))

    def _forced(self, client: "httpx.Client", one: Forced) -> list[float]:
        import httpx

        ids = [*one.prompt, *one.answer]
        # Beside the likeliest token each place has the prompt's own; some versions take a 0 for none at all.
        body = {"model": one.model, "prompt": ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 1}
        place = f"{public(self.address)}: model '{one.model}'"
        try:
            answer = client.post(f"{self.address}/completions", json=body)
        except httpx.HTTPError as error:
            raise EngineError(f"{place} does not answer ({one_line(error)})") from None
        try:
            scored = answer.json()["choices"][0]["prompt_logprobs"][-len(one.answer) :]
            return [float(entry[str(token)]["logprob"]) for token, entry in zip(one.answer, scored, strict=True)]
        except (ValueError, LookupError, TypeError):
            raise EngineError(f"{place} does not score its prompt ({answer.text.strip()[:300]})") from None


def number_format(dtype: str, model: Path) -> str:
    """Return what vLLM's --dtype means for a model's folder: fp32, bf16 or fp16."""
    if dtype != "auto":
        return FORMATS.get(dtype, dtype)
    own = read_json(model / "config.json")
    named = str(own.get("dtype") or own.get("torch_dtype")) if isinstance(own, dict) else ""
    return "fp16" if named == "float16" else "bf16"


class VllmServer:
    """A context in which vLLM serves a base model and adapters; `address` ends in `/v1`.

    `note` is called with lines about the progress of the start. Raises MissingPrerequisiteError without vLLM's
    environment, and EngineError if the server does not start (with the last lines of its log), or serves an adapter
    without applying it.
    """

    def __init__(
        self,
        model: Path,
        base: str,
        adapters: Mapping[str, Path],
        settings: Settings,
        note: Callable[[str], None],
    ) -> None:
        self.model = model
        self.base = base
        self.adapters = dict(adapters)
        self.settings = settings
        self.note = note
        self.port = settings.port or free_port(settings.host)
        # All adapters in one batch, or those of several recipes would take turns; and one slot that stays empty: on a
        # CPU, rows without an adapter in a mixed batch are computed with the last slot's weights (lora_ops.py indexes
        # them by -1), so the base would answer as the last adapter does.
        self._slots = len(adapters) + settings.loadable + 1
        # By name, also of adapters that are served no more: vLLM may still have what it computed under a name.
        self._digests: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._template: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """Return the address at which this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    def start(self) -> None:
        """Start the server, wait until it answers, and prove its adapters; stop it again if that fails."""
        self.launch()
        try:
            self._digests |= {name: _digest(path) for name, path in self.adapters.items()}
            self._hold(self.adapters)
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start the server and wait until it answers; stop it again if it does not. Nothing is proven yet."""
        python = self.settings.python
        if not python.is_file():
            raise MissingPrerequisiteError(f"{python}: vLLM's environment is not installed", hint="run: make vllm")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed by stop()
        if self.settings.template:
            self._template = tempfile.NamedTemporaryFile(suffix=".jinja")  # noqa: SIM115 - as above
            self._template.write(self.settings.template.encode())
            self._template.flush()
        self._process = subprocess.Popen(
            self.command(), env=self.environment(), stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def command(self) -> list[str]:
        """Return the command line; the `vllm` command itself does not start in the CPU build."""
        s = self.settings
        line = [str(s.python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(self.model)]
        line += ["--served-model-name", self.base, "--host", s.host, "--port", str(self.port)]
        line += ["--dtype", s.dtype, "--max-model-len", str(s.max_length), "--disable-uvicorn-access-log"]
        line += ["--enable-lora", "--max-lora-rank", str(allowed_rank(s.max_lora_rank))]
        line += ["--max-loras", str(self._slots)]
        if self._template:
            # As texts, since that is what the template reads; vLLM may take it for one that reads lists of parts.
            line += ["--chat-template", self._template.name, "--chat-template-content-format", "string"]
        modules = [f"{name}={path}" for name, path in self.adapters.items()]
        return [*line, "--lora-modules", *modules] if modules else line

    def environment(self) -> dict[str, str]:
        """Return the server's environment variables: it fetches nothing, and reports nothing to anyone."""
        # A key would be asked of us as well: only this machine reaches vLLM, and the server before it has the keys.
        kept_out = ("PYTHONPATH", "VIRTUAL_ENV", "VLLM_API_KEY")
        inherited = {name: value for name, value in os.environ.items() if name not in kept_out}
        more = {
            "VLLM_CPU_KVCACHE_SPACE": str(self.settings.cache_gib),
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": str(self.settings.loadable > 0),
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        return {**inherited, **more}

    def load_adapter(self, name: str, path: Path) -> None:
        """Load an adapter into the running server; its name must be new, since vLLM caches prefixes by name.

        It is proven before this returns, and unloaded again if its proof refuses it. EngineError says so, and also
        where the name stands for other bytes already or the adapter would take the slot that has to stay empty.
        """
        if len(self.adapters) + 1 >= self._slots:
            raise EngineError(f"{self.address}: no slot is free for adapter '{name}'", hint="start with more of them")
        found = _digest(path)
        if self._digests.setdefault(name, found) != found:
            raise EngineError(f"{self.address}: the name '{name}' stands for other weights", hint="give it a new name")
        answer = self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path.resolve())})
        if answer.status_code != 200:
            raise EngineError(f"{self.address}: adapter '{name}' was not loaded ({answer.text.strip()[:300]})")
        try:
            self._hold({name: path})
        except BaseException:
            self.unload_adapter(name)
            raise
        self.adapters[name] = path

    def unload_adapter(self, name: str) -> None:
        """Have the running server forget an adapter; EngineError if it does not."""
        answer = self._post("/v1/unload_lora_adapter", {"lora_name": name})
        if answer.status_code != 200:
            raise EngineError(f"{self.address}: adapter '{name}' was not unloaded ({answer.text.strip()[:300]})")
        self.adapters.pop(name, None)

    def _hold(self, adapters: Mapping[str, Path]) -> None:
        """Raise EngineError for the first adapter that its proof refuses, or which without probes changes nothing."""
        records = {name: record for name, path in adapters.items() if (record := _probes(path))}
        for name, proof in prove(self, self.base, records).items() if records else ():
            if proof.reason:
                raise EngineError(f"{self.address}: adapter '{name}' is refused: {proof.reason}")
        for name in adapters.keys() - records.keys():
            self.check_applied(name)

    @property
    def format(self) -> str:
        """The number format that the server computes in: fp32, bf16 or fp16."""
        return number_format(self.settings.dtype, self.model)

    def forced_scores(self, forced: Sequence[Forced]) -> list[list[float]]:
        """Return the log-probability of each forced token, all requests sent at once; EngineError without an answer."""
        return VllmScorer(self.address, self.format).forced_scores(forced)

    def check_applied(self, name: str) -> None:
        """Raise EngineError if an adapter changes no log-probability: it is then served but not applied."""
        with_it, without = self._log_probabilities(name), self._log_probabilities(self.base)
        shared = with_it.keys() & without.keys()
        if shared and max(abs(with_it[token] - without[token]) for token in shared) < SAME:
            raise EngineError(
                f"{self.address}: adapter '{name}' is served but answers like the base model",
                hint="check the adapter's target modules; vLLM ignores those that it does not know",
            )

    def wait(self) -> None:
        """Wait until the server ends; EngineError if it does so with an error."""
        if self._process and self._process.wait():
            raise EngineError(f"vLLM stopped with status {self._process.returncode}:\n{self._last_lines()}")

    def stop(self) -> None:
        """Stop the server and all processes that it started."""
        process, self._process = self._process, None
        if process:
            _end(process)
        for file in filter(None, (self._log, self._template)):
            file.close()
        self._log = self._template = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        started = noted = time.monotonic()
        self.note(f"starting vLLM at {self.address}")
        while not self._is_ready():
            now = time.monotonic()
            if self._process is None or self._process.poll() is not None:
                raise EngineError(f"vLLM did not start:\n{self._last_lines()}")
            if now - started > self.settings.start_timeout:
                waited = f"{self.settings.start_timeout:g} s"
                raise EngineError(f"vLLM was not ready after {waited}:\n{self._last_lines()}")
            if now - noted > NOTE_EVERY:
                noted = now
                self.note(f"vLLM is starting, {now - started:.0f} s so far (about 3 minutes on two cores)")
            time.sleep(1)
        self.note(f"vLLM is ready after {time.monotonic() - started:.0f} s")

    def _is_ready(self) -> bool:
        import httpx

        try:
            return httpx.get(self.address.removesuffix("/v1") + "/health", timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _post(self, path: str, body: Mapping[str, object]) -> "httpx.Response":
        import httpx

        try:
            return httpx.post(self.address.removesuffix("/v1") + path, json=body, timeout=120, trust_env=False)
        except httpx.HTTPError as error:
            raise EngineError(f"{self.address}: {path} was not answered ({error})") from None

    def _log_probabilities(self, model: str) -> dict[str, float]:
        """Return the most probable first tokens of the answer to a fixed question, in nats."""
        body = {"model": model, "messages": [{"role": "user", "content": PROBE}], "max_tokens": 1, "temperature": 0}
        answer = self._post("/v1/chat/completions", {**body, "logprobs": True, "top_logprobs": 20})
        try:
            first = answer.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            return {entry["token"]: float(entry["logprob"]) for entry in first}
        except (ValueError, LookupError, TypeError):
            reason = answer.text.strip()[:300]
            raise EngineError(f"{self.address}: model '{model}' does not answer ({reason})") from None

    def _last_lines(self) -> str:
        if self._log is None:
            return ""
        # The server shares the file position, which pread does not move.
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), LOG_TAIL, max(0, size - LOG_TAIL))
        return "\n".join(tail.decode(errors="replace").splitlines()[-LAST_LINES:])


class VllmEngine(EndpointEngine):
    """The engine for a vLLM server that it owns: the server stops with `close`, with the engine, or with Python."""

    def __init__(self, server: VllmServer) -> None:
        super().__init__(server.address, server.base, *server.adapters, timeout=600.0)
        self.server = server
        server.start()
        self.close = weakref.finalize(self, server.stop)


def _digest(folder: Path) -> str:
    """Return an adapter's digest, empty for a folder that holds none: vLLM says what is wrong with it."""
    return adapter_digest(folder) if (folder / WEIGHTS).is_file() else ""


def _probes(folder: Path) -> ProbeRecord | None:
    return read_probes(folder, read_lineage(folder)) if (folder / LINEAGE).is_file() else None


def allowed_rank(rank: int) -> int:
    """Return the lowest value of --max-lora-rank that vLLM accepts and that covers a rank; EngineError above 512."""
    for allowed in RANKS:
        if rank <= allowed:
            return allowed
    raise EngineError(f"LoRA rank {rank}: vLLM serves ranks up to {RANKS[-1]}", hint="train with a lower rank")


def free_port(host: str) -> int:
    """Return a port on which nothing is listening right now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_TIMEOUT)
    # Its workers are in the same process group, and outlive a server that was killed.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

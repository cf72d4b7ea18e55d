"""Who may answer under which name: the base model, its adapters once they are proven, and aliases of these.

A name `<recipe>-<digest8>` stands for one adapter for good. An alias, such as the recipe's name, points to one of the
adapters that may answer, and is moved in one step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import Literal, Self

from tuning_room.engines.proving import Forced, Proof, Scorer, prove, reach
from tuning_room.errors import AdapterMismatchError, EngineError, TuningRoomError
from tuning_room.models.probes import ProbeRecord
from tuning_room.records import Message

RETRY_AFTER = 5  # seconds
UNPROVEN = "its training recorded no probes, so nothing proves that it is this adapter; train again to record them"

State = Literal["waiting", "proven", "unproven", "refused"]


class UnknownModelError(EngineError):
    """A request for a model that is not served."""


class NotProvenYetError(EngineError):
    """A request that came before the proof of the adapters."""


class RefusedAdapterError(EngineError):
    """A request for an adapter that its proof refused."""


@dataclass(frozen=True)
class ServedAdapter:
    """An adapter and what is known of it; a copy replaces it when something has changed."""

    name: str
    recipe: str = ""
    digest: str = ""
    folder: Path = Path()
    short_prompt: str | None = None
    record: ProbeRecord | None = None
    state: State = "waiting"
    reason: str = ""
    proof: Proof | None = None
    proofs: int = 0

    def after(self, proof: Proof | None, reason: str = UNPROVEN) -> Self:
        """Return what a proof makes of it; without one it is unproven, which leaves it in service."""
        if proof is None:
            return replace(self, state="unproven", reason=reason, proofs=self.proofs + 1)
        return replace(self, state=proof.state, reason=proof.reason, proof=proof, proofs=self.proofs + 1)

    def refused(self, reason: str) -> Self:
        """Return it as refused."""
        return replace(self, state="refused", reason=reason)


class Roster:
    """The names of a server; safe for several threads.

    `scorer` is what proves the adapters, and `plain` are texts for those that have no probes of their own. Without
    `require_proof` these answer, as unproven ones. Nothing answers before `open` was called or all have been proven.
    """

    def __init__(
        self,
        base: str,
        adapters: Sequence[ServedAdapter],
        scorer: Scorer | None = None,
        *,
        plain: Sequence[Forced] = (),
        require_proof: bool = False,
    ) -> None:
        self.base, self.scorer, self.plain, self.require_proof = base, scorer, plain, require_proof
        self._adapters: dict[str, ServedAdapter] = {}
        self._aliases: dict[str, str] = {}
        self._other_turns: dict[str, int] = {}
        self._lock, self._proving, self._open = Lock(), Lock(), Event()
        for adapter in adapters:
            self._add(adapter)

    @classmethod
    def of_names(cls, names: Sequence[str]) -> "Roster":
        """Return a roster under which all models of an engine answer, the base model first; nothing is proven."""
        base, *others = names
        roster = cls(base, [ServedAdapter(name, state="unproven", reason=UNPROVEN) for name in others])
        roster.open()
        return roster

    def _add(self, adapter: ServedAdapter) -> None:
        """Add an adapter; a name that stands for another one is refused, and the same one twice is one."""
        known = self._adapters.get(adapter.name)
        if adapter.name == self.base or (known and known.digest != adapter.digest):
            holder = "the base model" if adapter.name == self.base else f"an adapter of digest {known.digest[:16]}"  # type: ignore[union-attr]
            raise AdapterMismatchError(
                f"{adapter.folder}: the name '{adapter.name}' belongs to {holder}",
                hint="a name stands for one adapter for good; train again, or serve it elsewhere",
            )
        if known and known.state != "refused":
            return
        self._adapters[adapter.name] = adapter
        taken = {self.base, *self._adapters, *self._aliases}
        if adapter.recipe and adapter.recipe not in taken and adapter.state != "refused":
            self._aliases[adapter.recipe] = adapter.name

    def open(self) -> None:
        """Let those that may answer do so."""
        self._open.set()

    @property
    def is_open(self) -> bool:
        """Whether the proofs at the start are over."""
        return self._open.is_set()

    @property
    def is_fit(self) -> bool:
        """Whether anything that was asked for may answer: one of the adapters, or the base model if there is none."""
        return not self._adapters or any(self._answers(adapter) for adapter in self._adapters.values())

    def names(self) -> list[str]:
        """Return the names that answer: the base model's, the adapters', the aliases'."""
        with self._lock:
            answering = [name for name, adapter in self._adapters.items() if self._answers(adapter)]
            return [self.base, *answering, *(alias for alias, name in self._aliases.items() if name in answering)]

    def _answers(self, adapter: ServedAdapter) -> bool:
        return adapter.state == "proven" or (adapter.state == "unproven" and not self.require_proof)

    def resolve(self, asked: str) -> str:
        """Return the name of the model that answers a request.

        Raises UnknownModelError, NotProvenYetError until the proofs are over, and RefusedAdapterError with the reason.
        """
        with self._lock:
            name = self._aliases.get(asked, asked)
            adapter = self._adapters.get(name)
        if adapter is None and name != self.base:
            raise UnknownModelError(
                f"model '{asked}' is not served here", hint=f"choose from {', '.join(self.names())}"
            )
        if not self.is_open:
            raise NotProvenYetError(f"model '{asked}' is being proven", hint=f"try again in {RETRY_AFTER} seconds")
        if adapter and not self._answers(adapter):
            raise RefusedAdapterError(f"adapter '{name}' was refused: {adapter.reason}")
        return name

    def adapter(self, asked: str) -> ServedAdapter:
        """Return an adapter by its name or an alias; UnknownModelError without one."""
        with self._lock:
            name = self._aliases.get(asked, asked)
            if name in self._adapters:
                return self._adapters[name]
        raise UnknownModelError(f"no adapter '{asked}' is served here", hint=f"choose from {', '.join(self._adapters)}")

    def adapters(self) -> list[ServedAdapter]:
        """Return all adapters, those that were refused as well."""
        with self._lock:
            return list(self._adapters.values())

    def aliases(self) -> Mapping[str, str]:
        """Return the adapters' names by their aliases."""
        with self._lock:
            return dict(self._aliases)

    def point(self, alias: str, name: str) -> None:
        """Let an alias, a new one or one that is there, stand for an adapter that may answer, in one step.

        Raises UnknownModelError and RefusedAdapterError, and AdapterMismatchError for an alias that is a model's name.
        """
        adapter = self.adapter(name)
        if not self._answers(adapter):
            raise RefusedAdapterError(f"adapter '{adapter.name}' may not answer: {adapter.reason or adapter.state}")
        with self._lock:
            if alias == self.base or alias in self._adapters:
                raise AdapterMismatchError(f"'{alias}' is a model's own name and stands for it for good")
            self._aliases[alias] = adapter.name

    def prove_all(self) -> None:
        """Prove all adapters that are not refused yet, each as the others are asked; then those that passed answer."""
        try:
            self._prove([adapter for adapter in self.adapters() if adapter.state == "waiting"])
        except TuningRoomError as error:
            # Of several adapters one may be what the server stumbles over.
            waiting = [adapter for adapter in self.adapters() if adapter.state == "waiting"]
            for adapter in waiting:
                self._prove_alone(adapter, error)
        finally:
            self._settle()
            self.open()

    def prove(self, asked: str) -> ServedAdapter:
        """Prove one adapter again while the others answer; from then on it answers, or no longer does.

        Raises UnknownModelError, and EngineError if the server cannot be asked; nothing changes then.
        """
        adapter = self.adapter(asked)
        if self.scorer is None:
            raise EngineError(f"adapter '{adapter.name}': this engine cannot prove it")
        if adapter.proofs == 0 and adapter.state == "refused":
            raise RefusedAdapterError(f"adapter '{adapter.name}' was refused: {adapter.reason}")
        self._prove([adapter])
        return self.adapter(adapter.name)

    def _prove_alone(self, adapter: ServedAdapter, error: TuningRoomError) -> None:
        if len(self._adapters) > 1:
            try:
                self._prove([adapter])
                return
            except TuningRoomError as own:
                error = own
        self._replace(adapter.refused(str(error)))

    def _prove(self, adapters: Sequence[ServedAdapter]) -> None:
        if self.scorer is None or not adapters:
            return
        with self._proving:
            # The others that answer are asked as well: a proof is worth what it is worth among them.
            company = [adapter for adapter in self.adapters() if adapter.state == "proven"]
            records = {adapter.name: adapter.record for adapter in [*adapters, *company] if adapter.record}
            proofs = prove(self.scorer, self.base, records) if records else {}
            for adapter in adapters:
                found = proofs.get(adapter.name) if adapter.record else self._unrecorded(self.scorer, adapter)
                # As it is by now: another proof of it may have ended meanwhile.
                self._replace(self.adapter(adapter.name).after(found))

    def _unrecorded(self, scorer: Scorer, adapter: ServedAdapter) -> Proof | None:
        """Return why an adapter without probes is refused: it says what the base model says."""
        if not self.plain:
            return None
        return reach(scorer, self.base, adapter.name, self.plain)

    def _settle(self) -> None:
        """Refuse what is still waiting: an error that nobody foresaw must not let it through."""
        for adapter in self.adapters():
            if adapter.state == "waiting":
                self._replace(
                    adapter.refused("its proof did not come to an end") if self.scorer else adapter.after(None)
                )

    def _replace(self, adapter: ServedAdapter) -> None:
        with self._lock:
            self._adapters[adapter.name] = adapter

    def other_turn(self, name: str, messages: Sequence[Message]) -> bool:
        """Tell, and count, whether a request's system turn is another than the one that the adapter was trained for."""
        with self._lock:
            adapter = self._adapters.get(name)
            if adapter is None or adapter.short_prompt is None:
                return False
            said = "\n".join(message.content for message in messages if message.role == "system")
            is_other = said.strip() != adapter.short_prompt.strip()
            self._other_turns[name] = self._other_turns.get(name, 0) + is_other
            return is_other

    def headers(self, name: str, messages: Sequence[Message]) -> dict[str, str]:
        """Return what an answer's headers say of who gave it, and of a system turn that it was not trained with."""
        adapter = self._adapters.get(name)
        warnings = []
        if self.other_turn(name, messages):
            warnings.append("the system turn is not the one that the adapter was trained with")
        if adapter and adapter.state == "unproven":
            warnings.append("the adapter is unproven")
        digest = {"X-Tuning-Room-Digest": f"sha256:{adapter.digest}"} if adapter and adapter.digest else {}
        warned = {"X-Tuning-Room-Warning": "; ".join(warnings)} if warnings else {}
        return {"X-Tuning-Room-Model": name.encode("ascii", "replace").decode(), **digest, **warned}

    def status(self) -> list[dict[str, object]]:
        """Return each adapter's state as JSON has it."""
        aliases = self.aliases()
        return [
            {
                "name": adapter.name,
                "digest": f"sha256:{adapter.digest}",
                "state": adapter.state,
                "answers": self.is_open and self._answers(adapter),
                "reason": adapter.reason,
                "aliases": [alias for alias, name in aliases.items() if name == adapter.name],
                "short_prompt": adapter.short_prompt,
                "proof": adapter.proof._asdict() if adapter.proof else None,
                "proofs": adapter.proofs,
                "other_system_turns": self._other_turns.get(adapter.name, 0),
            }
            for adapter in self.adapters()
        ]

"""What a server says of its names over HTTP: health, models, the adapters' states, proofs on demand, aliases."""

import time

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from tuning_room.serve.answers import error_body, model_entry, model_list
from tuning_room.serve.roster import RETRY_AFTER, Roster, UnknownModelError

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


class AliasTarget(BaseModel):
    """The body of PUT /v1/aliases/{alias}: the adapter that it is to stand for."""

    adapter: str = Field(min_length=1)


def _is_here(request: Request) -> bool:
    """Whether a request comes from this machine itself: not by a proxy on it, and not by a web page open on it."""
    is_passed_on = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "via", "origin"))
    return request.client is not None and request.client.host in LOOPBACK and not is_passed_on


def add_roster(app: FastAPI, roster: Roster) -> None:
    """Add the routes of a roster: /health, /v1/models, /v1/adapters with proofs, and /v1/aliases."""
    created = int(time.time())

    @app.get("/health")
    async def health() -> JSONResponse:
        if not roster.is_open:
            return JSONResponse({"status": "proving"}, 503, {"Retry-After": str(RETRY_AFTER)})
        if not roster.is_fit:
            # Who may ask without a key is told which, and not why: reasons hold paths, and prompts are the recipe's.
            refused = [{name: entry[name] for name in ("name", "state")} for entry in roster.status()]
            return JSONResponse({"status": "refused", "adapters": refused}, 503)
        return JSONResponse({"status": "ok"})

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return model_list(roster.names() if roster.is_open else [roster.base], created)

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, object]:
        names = roster.names() if roster.is_open else [roster.base]
        if name not in names:
            raise UnknownModelError(f"model '{name}' is not served here", hint=f"choose from {', '.join(names)}")
        return model_entry(name, names, created)

    @app.get("/v1/adapters")
    async def adapters() -> dict[str, object]:
        return {"object": "list", "base": roster.base, "data": roster.status()}

    @app.post("/v1/adapters/{name}/proof")
    async def proof(name: str) -> dict[str, object]:
        adapter = await run_in_threadpool(roster.prove, name)
        return next(entry for entry in roster.status() if entry["name"] == adapter.name)

    @app.get("/v1/aliases")
    async def aliases() -> dict[str, object]:
        return {"object": "list", "data": dict(roster.aliases())}

    @app.put("/v1/aliases/{alias}")
    async def point(alias: str, target: AliasTarget, request: Request) -> JSONResponse:
        if not _is_here(request):
            message = "aliases are moved from the server's own machine only, and through no proxy"
            return JSONResponse(error_body(message, "invalid_request_error", code="forbidden"), 403)
        roster.point(alias, target.adapter)
        return JSONResponse({"alias": alias, "adapter": roster.aliases()[alias]})

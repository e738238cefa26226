"""The HTTP door (docs/decisions/0006, "The door"): runs are started, watched, cancelled and decided upon through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from arklex_runtime.engine.times import rfc3339, rfc3339_or_none
from arklex_runtime.gateway import bodies
from arklex_runtime.gateway.ports import Desk
from arklex_runtime.gateway.problems import BadRequest, answer, problem, problem_of
from arklex_runtime.gateway.token import Token
from arklex_runtime.orchestrator.logs import log_documents
from arklex_runtime.state.records import RunRow

Count = Callable[[str, int], None]
"""Told of every request: its route, as written below, and the status it was answered with."""

RUNS = "/v1/namespaces/{namespace}/runs"


class Door:
    """Handlers over a Desk; ``app`` is what to serve."""

    def __init__(self, desk: Desk, token: Token, count: Count = lambda route, status: None) -> None:
        self._desk = desk
        self._token = token
        self._count = count
        self.app = web.Application(middlewares=[self._guard], client_max_size=bodies.MAX_BODY)
        self.app.router.add_routes(
            [
                web.post("/v1/namespaces/{namespace}/taskgraphs/{graph}/runs", self.start),
                web.get(RUNS, self.list_runs),
                web.get(RUNS + "/{run}", self.show),
                web.get(RUNS + "/{run}/events", self.events),
                web.get(RUNS + "/{run}/logs", self.logs),
                web.post(RUNS + "/{run}/cancel", self.cancel),
                web.post(RUNS + "/{run}/approvals/{task:.+}", self.approve),
            ]
        )

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let only those in who have the token, and turn whatever goes wrong into a problem document."""
        response: web.StreamResponse
        if not self._token.admits(request.headers.get("Authorization")):
            headers = {"WWW-Authenticate": 'Bearer realm="arklex"'}
            response = problem(401, "unauthenticated", "Authorization: Bearer TOKEN is missing or wrong", headers=headers)
        else:
            try:
                response = await handler(request)
            except Exception as error:
                response = problem_of(error)
        resource = request.match_info.route.resource
        self._count(resource.canonical if resource is not None else "none", response.status)
        return response

    async def start(self, request: web.Request) -> web.Response:
        """202 ``{run, phase}`` once the run is durable; with ``?wait=`` 200 and its document, if it ends in time."""
        order = bodies.order_of(await bodies.read_body(request), request)
        wait = bodies.wait_of(request)
        namespace = request.match_info["namespace"]
        run_id, phase = await self._desk.start(namespace, request.match_info["graph"], order)
        if wait and await self._desk.wait(run_id, wait):
            return answer(200, await self._desk.document(namespace, run_id))
        location = f"/v1/namespaces/{namespace}/runs/{run_id}"
        return answer(202, {"run": run_id, "phase": phase}, {"Location": location})

    async def list_runs(self, request: web.Request) -> web.Response:
        """Runs, newest first."""
        phase, graph, limit = bodies.filters_of(request)
        rows = await self._desk.runs(request.match_info["namespace"], phase, graph, limit)
        return answer(200, {"runs": [_row(row) for row in rows]})

    async def show(self, request: web.Request) -> web.Response:
        """The run's document; with ``?wait=`` that of its end, if it comes in time."""
        wait = bodies.wait_of(request)
        document = await self._of_run(request, self._desk.document)
        if wait and document["finishedAt"] is None and await self._desk.wait(request.match_info["run"], wait):
            document = await self._of_run(request, self._desk.document)
        return answer(200, document)

    async def events(self, request: web.Request) -> web.Response:
        """What happened."""
        return answer(200, {"events": await self._of_run(request, self._desk.history)})

    async def logs(self, request: web.Request) -> web.Response:
        """What attempts logged."""
        namespace, run = request.match_info["namespace"], request.match_info["run"]
        found = await self._desk.logs(namespace, run)
        return answer(200, {"logs": log_documents(found, request.query.get("task") or None)})

    async def cancel(self, request: web.Request) -> web.Response:
        """Ask it to end."""
        body = await bodies.read_body(request)
        bodies.only(body, "reason")
        reason = bodies.text(body, "reason", most=1024) or "cancelled over HTTP"
        run = request.match_info["run"]
        await self._desk.cancel(request.match_info["namespace"], run, reason)
        return answer(202, {"run": run, "cancel": "requested"})

    async def approve(self, request: web.Request) -> web.Response:
        """Decide on an approval."""
        body = await bodies.read_body(request)
        bodies.only(body, "approved", "by", "data")
        approved, by = body.get("approved"), bodies.text(body, "by", most=253)
        if not isinstance(approved, bool):
            raise BadRequest.of("approved", "Invalid", "must be true or false")
        namespace, run, task = (request.match_info[name] for name in ("namespace", "run", "task"))
        await self._desk.approve(namespace, run, task, approved=approved, by=by, data=body.get("data"))
        return answer(200, {"run": run, "task": task, "approved": approved, "by": by})

    async def _of_run(self, request: web.Request, get: Callable[[str, str], Awaitable[Any]]) -> Any:
        return await get(request.match_info["namespace"], request.match_info["run"])


def _row(row: RunRow) -> dict[str, Any]:
    return {
        "run": row.run_id,
        "graph": row.graph,
        "phase": row.phase,
        "startedAt": rfc3339(row.started_at),
        "finishedAt": rfc3339_or_none(row.finished_at),
        "object": row.object_name,
    }

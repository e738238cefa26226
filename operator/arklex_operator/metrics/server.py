"""The HTTP side of external.metrics.k8s.io: who may ask, what is answered. Everything is JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import orjson
from aiohttp import web

from arklex_operator.load.publish import Told
from arklex_operator.load.source import METRIC
from arklex_operator.metrics import documents
from arklex_operator.metrics.callers import FrontProxy, may_read, trusted, user
from arklex_operator.metrics.loads import Loads, StaleError
from arklex_operator.metrics.series import Series

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROXY: web.AppKey[Callable[[], FrontProxy | None]] = web.AppKey("proxy")
LOADS: web.AppKey[Loads] = web.AppKey("loads")
READERS: web.AppKey[Collection[str]] = web.AppKey("readers")


def application(
    loads: Loads, proxy: Callable[[], FrontProxy | None], readers: Collection[str], series: Series
) -> web.Application:
    """The aggregated API. ``proxy`` says how the API server is known now, ``readers`` who may read besides the HPAs."""
    app = web.Application(middlewares=[_counted(series), _authenticated])
    app[PROXY], app[LOADS], app[READERS] = proxy, loads, readers
    root = f"/apis/{documents.GROUP}"
    app.add_routes(
        [
            web.get("/apis", _aggregated_discovery),
            web.get(root, _group),
            web.get(f"{root}/{documents.VERSION}", _resources),
            web.get(f"{root}/{documents.VERSION}/namespaces/{{namespace}}/{{metric}}", _values),
        ]
    )
    return app


def answer(document: dict[str, Any], code: int = 200) -> web.Response:
    """A JSON document."""
    return web.Response(body=orjson.dumps(document), status=code, content_type="application/json")


def failure(code: int, message: str) -> web.Response:
    """A Status document."""
    return answer(documents.status(code, message), code)


def _counted(series: Series) -> Any:
    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            code = error.status if error.status in documents.REASONS else 500
            response = failure(code, f"{request.method} {request.path}: {error.reason}")
        series.requests.labels(str(response.status)).inc()
        return response

    return count


@web.middleware
async def _authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    if not trusted(request.app[PROXY](), certificate):
        return failure(401, "only kube-apiserver may ask, with its front-proxy client certificate: go through the API server")
    return await handler(request)


async def _aggregated_discovery(_: web.Request) -> web.Response:
    """406, not 404: the API server then asks for the group itself, as it does of servers without aggregated discovery."""
    return failure(406, "aggregated discovery is not served here: ask for the group")


async def _group(_: web.Request) -> web.Response:
    return answer(documents.group())


async def _resources(_: web.Request) -> web.Response:
    return answer(documents.resources())


async def _values(request: web.Request) -> web.Response:
    name = user(request.app[PROXY](), request.headers)
    namespace, metric = request.match_info["namespace"], request.match_info["metric"]
    if not may_read(name, request.app[READERS]):
        return failure(403, f"user {name!r} may not read the load of Workers: ARKLEX_METRICS_READERS names who may")
    if metric != METRIC:
        return failure(404, f"there is no metric {metric!r}: the only one is {METRIC}")
    try:
        wanted = documents.selected(request.query.get("labelSelector", ""))
        return await _told(request.app[LOADS], namespace, wanted)
    except ValueError as error:
        return failure(400, str(error))
    except StaleError as error:
        return failure(503, f"no load for {namespace}/{wanted or '*'}: {error}")


async def _told(loads: Loads, namespace: str, wanted: str | None) -> web.Response:
    if wanted is None:
        keys = sorted(key for key in loads.observed.seen if key[0] == namespace)
        all_told: list[tuple[str, Told | None]] = [(key[1], loads.told(key)) for key in keys]
        return answer(documents.values((worker, told) for worker, told in all_told if told))
    told = await loads.ask((namespace, wanted))
    if told is None:
        refused = loads.observed.refused.get((namespace, wanted))
        why = f"its spec is not understood ({refused})" if refused else "there is none"
        return failure(404, f"no load for Worker {namespace}/{wanted}: {why}")
    return answer(documents.values([(wanted, told)]))

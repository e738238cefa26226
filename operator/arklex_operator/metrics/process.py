"""The ``arklex-metrics`` process: loops that keep its sources, its certificate and its registration as they should be."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.queues import Queues, connect
from arklex_operator.metrics.callers import CONFIG_MAP, FrontProxy, read_front_proxy
from arklex_operator.metrics.keyring import Keyring
from arklex_operator.metrics.listening import Listener, listen
from arklex_operator.metrics.loads import Loads
from arklex_operator.metrics.observed import Observed
from arklex_operator.metrics.options import Options
from arklex_operator.metrics.registration import Registered, Registration, State
from arklex_operator.metrics.series import Series
from arklex_operator.metrics.server import application

POLL = 5.0
"""Seconds between two readings of all sources."""
WATCH = 2.0
"""Seconds between two looks at our namespace and the APIService: a dying namespace leaves us little more time."""
RELOAD = 10.0
"""Seconds between two looks at the certificate and at how the API server shows itself."""

log = logging.getLogger("arklex.metrics")


class Process:
    """Everything the process holds. ``run`` returns when it is told to stop."""

    def __init__(self, options: Options, api: Api) -> None:
        self._options, self._api = options, api
        self._redis = connect(options.redis_url, options.redis_password_file)
        self._loads = Loads(Observed(api, options.namespaces), Queues(self._redis))
        self._keyring, self._registration = Keyring(api, options), Registration(api, options)
        self._series = Series()
        self._series.watch(self._loads)
        app = application(self._loads, self._front_proxy, options.readers, self._series)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        self._listener = Listener(self._runner, listen(options.port))
        self._owning = asyncio.Lock()
        self._registered: Registered | None = None
        self._stopping = asyncio.Event()
        self._failures: dict[str, str] = {}

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stopping.set)
        admin = web.AppRunner(self._admin(), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await admin.setup()
        await web.SockSite(admin, listen(self._options.admin_port)).start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._every("sources", POLL, self._loads.poll))
                group.create_task(self._every("certificate", RELOAD, self._reload))
                group.create_task(self._every("registration", WATCH, self._register))
        finally:
            await self._leave()
            await self._runner.cleanup()
            self._listener.close()
            await admin.cleanup()
            await self._redis.aclose()

    def _front_proxy(self) -> FrontProxy | None:
        return self._listener.proxy

    async def _every(self, what: str, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            try:
                await act()
            except (ApiError, ValueError) as error:
                self._note(what, str(error))
            else:
                self._note(what, None)
            try:
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _reload(self) -> None:
        """Trust before serving: the CA is in the APIService before the certificate that it signed is served."""
        path = f"/api/v1/namespaces/kube-system/configmaps/{CONFIG_MAP}"
        proxy = read_front_proxy(await self._api.raw(path) or {})
        async with self._owning:
            identity = await self._keyring.current()
            self._tell(await self._registration.reconcile(identity.bundle))
            if await self._listener.use(identity, proxy):
                self._series.certificate_ends(identity.ends())
                log.info(
                    "serving until %s with the certificate of Secret %s", identity.ends().isoformat(), self._options.secret
                )

    async def _register(self) -> None:
        async with self._owning:
            if self._listener.identity is not None:
                self._tell(await self._registration.reconcile(self._listener.identity.bundle))

    def _tell(self, registered: Registered) -> None:
        self._registered = registered
        self._series.registered.set(registered.state is State.OURS)
        self._note("ownership", None if registered.state is State.OURS else registered.message)

    def _note(self, what: str, failure: str | None) -> None:
        """Log a failure when it appears or changes, and its end."""
        if failure != self._failures.get(what):
            if failure is None:
                log.info("%s: well again", what)
            else:
                log.warning("%s: %s", what, failure)
        if failure is None:
            self._failures.pop(what, None)
        else:
            self._failures[what] = failure

    async def _leave(self) -> None:
        """Take the APIService along when the namespace goes: nobody else will."""
        try:
            if await self._registration.leaving() and await self._registration.remove():
                log.info("APIService deleted with its namespace")
        except ApiError as error:
            log.warning("APIService left behind: %s", error)

    def _admin(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)]
        )
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _readyz(self, _: web.Request) -> web.Response:
        """Ready to answer, be it with 503: an APIService without a server would keep namespaces from being deleted."""
        if self._listener.identity is None:
            return web.Response(status=503, text="\n".join(["no certificate yet", *self._failures.values()]))
        message = self._registered.message if self._registered else "not registered yet"
        failures = [f"{source}: {failure.text}" for source, failure in self._loads.failures.items()]
        return web.Response(text="\n".join([message, *self._failures.values(), *failures]))

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._series.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

"""Each namespace's account at Redis: the Secret ``arklex-connection``, and the ACL user that it names."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from redis.exceptions import ResponseError

from arklex_api.base import Condition
from arklex_operator.cluster.api import Api
from arklex_operator.cluster.broker import Broker, RedisFailed
from arklex_operator.manifests.kinds import SECRET, Object
from arklex_operator.manifests.names import CONNECTION, MANAGED_BY, MANAGER
from arklex_operator.settings import Settings

POD_COMMANDS = (
    "ping hello select client|setname client|id multi exec discard time eval evalsha xadd xread xreadgroup "
    "xack xdel xpending xgroup|create xgroup|delconsumer hset hdel zadd zcard zrange zremrangebyscore pexpire"
)
"""What a pod may ask of Redis (docs/decisions/0006); the runtime's ``wire.POD_COMMANDS``."""

_UNKNOWN = re.compile(r"modifier '\+([^']+)': Unknown command")

KEPT = 300.0
"""Seconds for which a Secret is taken to be as it was read."""

log = logging.getLogger("arklex.operator.accounts")


def user_of(namespace: str) -> str:
    """The name of a namespace's ACL user."""
    return f"arklex-{namespace}"


def pattern_of(namespace: str) -> str:
    """The keys that it may use, delimiter included: ``team*`` would open ``team-b`` to ``team`` as well."""
    return f"~arklex:{{{namespace}}}:*"


class Accounts:
    """Keeps Secrets and ACL users of namespaces as they should be.

    ``managed``: both are made here, with a password that is made once. ``static``: both are somebody else's. ``off``: the
    Secret holds the administrator's own account.
    """

    def __init__(self, api: Api, broker: Broker, settings: Settings) -> None:
        self._api = api
        self._broker = broker
        self._settings = settings
        self._passwords: dict[str, str] = {}
        self._read: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._unknown: set[str] = set()
        self._set: dict[str, tuple[str, Any]] = {}
        self.changed: Callable[[str], None] = lambda namespace: None

    async def ensure(self, namespace: str) -> bool:
        """Make the Secret if there is none, and the user if Redis is there; whether the Secret is new. Raises ApiError."""
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            if namespace in self._passwords and time.monotonic() - self._read[namespace] < KEPT:
                return False
            self._read[namespace] = time.monotonic()
            if self._settings.redis_acl == "static":
                self._tell(namespace, await self._static(namespace))
                return False
            made = await self._secret(namespace)
            if self._broker.up:
                await self._user(namespace)
            return made

    def forget(self, namespace: str) -> None:
        """The Secret may have changed or gone: read it again."""
        self._read[namespace] = float("-inf")

    async def restore(self) -> None:
        """Set right the users of all namespaces whose Secret is known."""
        for namespace in list(self._passwords):
            await self._user(namespace)

    async def remove(self, namespace: str) -> None:
        """Remove user and Secret of a namespace without Workers. Raises ApiError; a Redis that is away is left for later."""
        if self._settings.redis_acl == "static":
            return
        secret = await self._api.get(SECRET, namespace, CONNECTION)
        if secret is not None and _ours(secret):
            await self._api.delete(SECRET, namespace, CONNECTION, uid=secret["metadata"]["uid"])
        if self._settings.redis_acl == "managed":
            await self._broker.redis.acl_deluser(user_of(namespace))
        for known in (self._passwords, self._problems, self._set, self._locks):
            known.pop(namespace, None)

    def namespaces(self) -> list[str]:
        """Namespaces whose account is looked after."""
        return list(self._passwords)

    def tenancy(self, namespace: str) -> Condition:
        """The condition TenantIsolation."""
        if self._settings.redis_acl != "managed":
            text = {
                "static": "redis.acl is static: whether tenants are apart is up to whoever made the Redis users",
                "off": "redis.acl is off: every pod has the administrator's account at Redis, and reaches every tenant's keys",
            }[self._settings.redis_acl]
            problem = self._problems.get(namespace)
            text = f"{text}; {problem}" if problem else text
            return Condition(type="TenantIsolation", status="False", reason=self._settings.redis_acl.capitalize(), message=text)
        if problem := self._problems.get(namespace):
            return Condition(type="TenantIsolation", status="False", reason="AclUnavailable", message=problem[:2048])
        text = f"pods use the Redis user {user_of(namespace)}, which reaches this namespace's keys only"
        return Condition(type="TenantIsolation", status="True", reason="Managed", message=text)

    async def _secret(self, namespace: str) -> bool:
        """Read the Secret, or make it. Two operators at once: the first to create decides."""
        metadata = {"name": CONNECTION, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}}
        base = {"apiVersion": SECRET.api_version, "kind": SECRET.name, "metadata": metadata}
        wanted, made = self._account(namespace), False
        secret = await self._api.get(SECRET, namespace, CONNECTION)
        if secret is None:
            data = _encoded({**wanted, "password": wanted.get("password") or secrets.token_urlsafe(32)})
            secret = await self._api.create({**base, "type": "Opaque", "data": data})
            made = secret is not None
            secret = secret or await self._api.get(SECRET, namespace, CONNECTION) or {}
        elif not _ours(secret):
            fix = "delete it, and it is made anew; or set redis.acl to static, and it is used as it is"
            self._tell(namespace, f"there is a Secret {CONNECTION} in {namespace} that is not the operator's: {fix}")
            return False
        data = _decoded(secret.get("data") or {})
        if not data.get("password"):
            wanted["password"] = secrets.token_urlsafe(32)
        if any(data.get(key) != value for key, value in wanted.items()):
            data = _decoded((await self._api.apply({**base, "data": _encoded(wanted)})).get("data") or {})
        self._passwords[namespace] = data["password"]
        return made

    def _account(self, namespace: str) -> dict[str, str]:
        """What the Secret must say; without ``password`` that stays as it is."""
        url = urlsplit(self._settings.worker_redis_url)
        bare = urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2]))
        if self._settings.redis_acl == "managed":
            return {"url": bare, "username": user_of(namespace)}
        file = self._settings.redis_password_file
        admin = urlsplit(self._settings.redis_url)
        password = file.read_text().strip() if file else admin.password or ""
        return {"url": bare, "username": admin.username or "default", **({"password": password} if password else {})}

    async def _static(self, namespace: str) -> str | None:
        if await self._api.get(SECRET, namespace, CONNECTION) is not None:
            self._passwords[namespace] = ""
            return None
        return f"there is no Secret {CONNECTION} in {namespace}: create it with the keys url, username and password"

    async def _user(self, namespace: str) -> None:
        """Set the user right if it is not what was set before, as Redis then said."""
        if self._settings.redis_acl != "managed":
            return
        redis, name, password = self._broker.redis, user_of(namespace), self._passwords[namespace]
        try:
            now = await redis.acl_getuser(name)
            known = self._set.get(namespace)
            if now is not None and known == (password, now):
                self._tell(namespace, None)
                return
            await self._set_user(name, password, pattern_of(namespace))
            self._set[namespace] = (password, await redis.acl_getuser(name))
            log.info("a Redis user was set", extra={"namespace": namespace, "new": now is None})
            self._tell(namespace, None)
        except RedisFailed as error:
            log.warning("a Redis user cannot be set", extra={"namespace": namespace, "error": str(error)})
            fix = "the operator's account needs ACL rights (Redis 6 or later), or set redis.acl to static or off"
            self._tell(namespace, f"the Redis user {name} cannot be set: {error}; {fix}")

    async def _set_user(self, name: str, password: str, pattern: str) -> None:
        """Set a user, all at once. Commands that this Redis does not have (7.0 has no CLIENT SETINFO) are left out."""
        commands = [f"+{each}" for each in POD_COMMANDS.split() if each not in self._unknown]
        for _ in range(len(commands)):
            try:
                await self._broker.redis.acl_setuser(
                    name,
                    enabled=True,
                    reset=True,
                    hashed_passwords=[f"+{hashlib.sha256(password.encode()).hexdigest()}"],
                    keys=[pattern.removeprefix("~")],
                    categories=["-@all"],
                    commands=commands,
                )
                return
            except ResponseError as error:
                found = _UNKNOWN.search(str(error))
                if found is None or f"+{found[1]}" not in commands:
                    raise
                commands.remove(f"+{found[1]}")
                self._unknown.add(found[1])

    def _tell(self, namespace: str, problem: str | None) -> None:
        if self._problems.get(namespace) != problem:
            if problem is None:
                self._problems.pop(namespace, None)
            else:
                self._problems[namespace] = problem
            self.changed(namespace)


def _ours(secret: Object) -> bool:
    return (secret["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER


def _encoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def _decoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}

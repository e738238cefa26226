"""The guide's SecurityManager: who calls, and what they may do."""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from arklex_runtime.errors import AuthenticationError, AuthorizationError

ALGORITHMS = ("HS256",)
"""Of a token signed with ``jwt_secret``; never what the token itself asks for."""

MIN_SECRET_BYTES = 32
"""RFC 7518 3.2: a key as long as the hash."""

ROLES: Mapping[str, tuple[str, ...]] = {
    "admin": ("*:*",),
    "operator": ("run:*", "read:*", "cancel:*", "approve:*"),
    "viewer": ("read:*",),
}
"""The roles that exist without a configuration: each a list of ``action:resource``, ``*`` for any."""


class Request(Protocol):
    """Anything with headers; names are looked up as given and in lower case."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers."""
        ...


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated caller."""

    name: str
    roles: tuple[str, ...] = ()
    tenant: str | None = None


class SecurityManager:
    """Authenticates requests by API key or JWT, and authorises actions by role.

    ``config``: ``api_keys`` {key: user}, where a user is a name or {name, roles, tenant}; ``jwt_secret`` (32 bytes or more)
    or ``jwt_public_key`` (PEM) with ``jwt_algorithms`` (default HS256 for a secret, RS256 and ES256 for a public key),
    ``jwt_issuer``, ``jwt_audience``, ``jwt_leeway`` (seconds, 0); ``roles`` {role: [``action:resource``]}, in place of ROLES;
    ``user_roles`` {name: [role]}, in addition to what a key or a token's ``roles`` claim gives.
    Without keys and JWT every request is refused.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        # Hashes make the comparison's time independent of where two keys differ, and of their lengths.
        keys: Mapping[str, Any] = config.get("api_keys", {})
        self._keys = [(_digest(key), _user(value)) for key, value in keys.items()]
        if any(not key for key in keys):
            raise ValueError("api_keys: a key is empty")
        self._jwt = _jwt_options(config)
        self._roles: Mapping[str, Iterable[str]] = config.get("roles", ROLES)
        self._user_roles: Mapping[str, Iterable[str]] = config.get("user_roles", {})

    def authenticate_request(self, request: Request) -> User:
        """The caller, by ``X-API-Key`` or else ``Authorization: Bearer``. Raises AuthenticationError, which never says why."""
        api_key = _header(request, "X-API-Key")
        if api_key:
            return self._by_key(api_key)
        scheme, _, token = (_header(request, "Authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self.verify_jwt(token.strip())
        raise AuthenticationError("Invalid credentials")

    def verify_jwt(self, token: str) -> User:
        """The user of a valid, unexpired token: its ``sub``, ``roles`` and ``tenant``. Raises AuthenticationError."""
        if self._jwt is None:
            raise AuthenticationError("Invalid credentials")
        import jwt

        try:
            claims = jwt.decode(token, **self._jwt)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise AuthenticationError("Invalid credentials") from None
        subject, roles = claims.get("sub"), claims.get("roles", [])
        if not isinstance(subject, str) or not subject or not _texts(roles):
            raise AuthenticationError("Invalid credentials")
        tenant = claims.get("tenant")
        return User(subject, tuple(roles), tenant if isinstance(tenant, str) else None)

    def authorize_action(self, user: User, action: str, resource: str) -> bool:
        """True where one of the user's roles allows ``action`` on ``resource``. Raises AuthorizationError otherwise."""
        required = self.get_required_permissions(action, resource)
        if any(self.has_permission(role, required) for role in self.get_user_roles(user)):
            return True
        raise AuthorizationError("Insufficient permissions")

    def get_user_roles(self, user: User) -> list[str]:
        """The user's roles, without repeats."""
        return list(dict.fromkeys([*user.roles, *self._user_roles.get(user.name, ())]))

    def get_required_permissions(self, action: str, resource: str) -> list[str]:
        """What a role must allow: ``action:resource``."""
        return [f"{action}:{resource}"]

    def has_permission(self, role: str, required: Iterable[str]) -> bool:
        """Whether ``role`` allows all of ``required``; a role that is not configured allows nothing."""
        allowed = list(self._roles.get(role, ()))
        return all(any(_allows(each, permission) for each in allowed) for permission in required)

    def _by_key(self, api_key: str) -> User:
        given = _digest(api_key)
        found: User | None = None
        for known, user in self._keys:
            if hmac.compare_digest(known, given):
                found = user
        if found is None:
            raise AuthenticationError("Invalid credentials")
        return found


def _allows(pattern: str, permission: str) -> bool:
    """Action and resource are matched apart, so that ``*`` in one does not reach into the other."""
    allowed_action, _, allowed_resource = pattern.partition(":")
    action, _, resource = permission.partition(":")
    return fnmatch.fnmatchcase(action, allowed_action) and fnmatch.fnmatchcase(resource, allowed_resource)


def _jwt_options(config: Mapping[str, Any]) -> dict[str, Any] | None:
    secret, public = config.get("jwt_secret"), config.get("jwt_public_key")
    if not secret and not public:
        return None
    if secret and public:
        raise ValueError("jwt_secret and jwt_public_key exclude each other: a public key must never pass for a secret")
    algorithms = list(config.get("jwt_algorithms") or (ALGORITHMS if secret else ("RS256", "ES256")))
    if any(name.lower() == "none" or name.upper().startswith("HS") is not bool(secret) for name in algorithms):
        raise ValueError("jwt_algorithms: HS… goes with jwt_secret, all others with jwt_public_key, none with nothing")
    if secret and len(secret.encode() if isinstance(secret, str) else secret) < MIN_SECRET_BYTES:
        raise ValueError(f"jwt_secret must have at least {MIN_SECRET_BYTES} bytes")
    audience, issuer = config.get("jwt_audience"), config.get("jwt_issuer")
    required = ["exp", "sub", *(["aud"] if audience else []), *(["iss"] if issuer else [])]
    return {
        "key": secret or public,
        "algorithms": algorithms,
        "audience": audience,
        "issuer": issuer,
        "leeway": config.get("jwt_leeway", 0),
        "options": {"require": required, "verify_aud": audience is not None},
    }


def _header(request: Request, name: str) -> str | None:
    return request.headers.get(name) or request.headers.get(name.lower())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _user(value: Any) -> User:
    if isinstance(value, User):
        return value
    if isinstance(value, str):
        return User(value)
    return User(value["name"], tuple(value.get("roles", ())), value.get("tenant"))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)

"""Who calls, and what they may do: API keys, a corpus of bad tokens, roles."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from arklex_runtime.errors import AuthenticationError, AuthorizationError
from arklex_runtime.security.manager import SecurityManager, User

SECRET = "s" * 32
KEYS = {"key-1": {"name": "ada", "roles": ["operator"], "tenant": "t1"}, "key-2": "bob"}


@dataclass
class Request:
    headers: dict[str, str] = field(default_factory=dict)


def manager(**config: Any) -> SecurityManager:
    return SecurityManager({"api_keys": KEYS, "jwt_secret": SECRET, **config})


def token(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    given = {"sub": "eve", "roles": ["viewer"], "exp": time.time() + 60, **claims}
    return jwt.encode({k: v for k, v in given.items() if v is not None}, key, algorithm, headers)


def bearer(text: str) -> Request:
    return Request({"Authorization": f"Bearer {text}"})


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_api_keys_and_tokens_name_their_user() -> None:
    assert manager().authenticate_request(Request({"X-API-Key": "key-1"})) == User("ada", ("operator",), "t1")
    assert manager().authenticate_request(Request({"x-api-key": "key-2"})) == User("bob")
    assert manager().authenticate_request(bearer(token(tenant="t2"))) == User("eve", ("viewer",), "t2")
    assert manager().authenticate_request(Request({"authorization": f"bearer {token()}"})).name == "eve"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "key-3"},
        {"X-API-Key": "key-1 "},
        {"X-API-Key": "schlüssel\ud800"},
        {"X-API-Key": "key-3", "Authorization": "Bearer " + token()},
        {"Authorization": "Basic a2V5LTE="},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer  "},
    ],
)
def test_anything_else_is_refused_without_a_reason(headers: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match=r"^Invalid credentials$"):
        manager().authenticate_request(Request(headers))


NONE = f"{part({'alg': 'none'})}.{part({'sub': 'eve', 'exp': time.time() + 60})}."
BAD = {
    "unsigned": NONE,
    "None": f"{part({'alg': 'None'})}.{NONE.split('.')[1]}.",
    "another key": token("t" * 32),
    "another algorithm": token("s" * 64, "HS512"),
    "no expiry": token(exp=None),
    "expired": token(exp=time.time() - 1),
    "expiry is text": f"{part({'alg': 'HS256'})}.{part({'sub': 'a', 'exp': 'soon'})}.x",
    "not yet": token(nbf=time.time() + 60),
    "no subject": token(sub=None),
    "empty subject": token(sub=""),
    "roles are no list": token(roles="admin"),
    "roles are no texts": token(roles=[1]),
    "unasked audience": token(aud="elsewhere"),
    "jwk inside": token("t" * 32, headers={"jwk": {"kty": "oct", "k": "dHR0"}}),
    "payload changed": ".".join([token().split(".")[0], part({"sub": "root", "exp": time.time() + 60}), token().split(".")[2]]),
    "no signature": token().rpartition(".")[0] + ".",
    "two parts": "a.b",
    "rubbish": "ü",
    "critical": token(headers={"crit": ["x"], "x": 1}),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_the_corpus_of_bad_tokens_is_refused(text: str) -> None:
    strict = manager(jwt_audience=None)
    if text == BAD["unasked audience"]:
        strict = manager(jwt_audience="arklex")
    with pytest.raises(AuthenticationError, match=r"^Invalid credentials$"):
        strict.authenticate_request(bearer(text))


def test_issuer_and_audience_are_required_where_configured() -> None:
    strict = manager(jwt_audience="arklex", jwt_issuer="me")
    assert strict.verify_jwt(token(aud="arklex", iss="me")).name == "eve"
    for claims in ({}, {"aud": "arklex"}, {"aud": "arklex", "iss": "you"}, {"aud": "other", "iss": "me"}):
        with pytest.raises(AuthenticationError):
            strict.verify_jwt(token(**claims))


def test_a_public_key_never_passes_for_a_secret() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = public.decode()
    checker = SecurityManager({"jwt_public_key": pem})
    assert checker.verify_jwt(token(private, "RS256")).name == "eve"
    import hashlib
    import hmac

    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': 'eve', 'exp': time.time() + 60})}"
    signature = base64.urlsafe_b64encode(hmac.new(public, signed.encode(), hashlib.sha256).digest()).decode().rstrip("=")
    with pytest.raises(AuthenticationError):
        checker.verify_jwt(f"{signed}.{signature}")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"jwt_secret": "short"}, "at least 32 bytes"),
        ({"jwt_secret": SECRET, "jwt_public_key": "k"}, "exclude each other"),
        ({"jwt_public_key": "k", "jwt_algorithms": ["HS256"]}, "jwt_algorithms"),
        ({"jwt_secret": SECRET, "jwt_algorithms": ["RS256"]}, "jwt_algorithms"),
        ({"jwt_secret": SECRET, "jwt_algorithms": ["none"]}, "jwt_algorithms"),
        ({"api_keys": {"": "x"}}, "a key is empty"),
    ],
)
def test_an_unsafe_configuration_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SecurityManager(config)


def test_without_configuration_nobody_comes_in() -> None:
    for headers in ({"X-API-Key": "key-1"}, {"Authorization": f"Bearer {token()}"}):
        with pytest.raises(AuthenticationError):
            SecurityManager({}).authenticate_request(Request(headers))


@pytest.mark.parametrize(
    ("roles", "action", "resource", "allowed"),
    [
        (["admin"], "delete", "graphs/x", True),
        (["operator"], "run", "graphs/x", True),
        (["operator"], "delete", "graphs/x", False),
        (["viewer"], "read", "runs/1:a", True),
        (["viewer"], "run", "graphs/x", False),
        (["nobody"], "read", "runs/1", False),
        ([], "read", "runs/1", False),
        (["viewer", "operator"], "cancel", "runs/1", True),
        (["scoped"], "run", "graphs/a-1", True),
        (["scoped"], "run", "graphs/b-1", False),
    ],
)
def test_roles_decide(roles: list[str], action: str, resource: str, allowed: bool) -> None:
    from arklex_runtime.security.manager import ROLES

    checker = manager(roles={**ROLES, "scoped": ["run:graphs/a-*"]})
    user = User("u", tuple(roles))
    if allowed:
        assert checker.authorize_action(user, action, resource)
    else:
        with pytest.raises(AuthorizationError):
            checker.authorize_action(user, action, resource)


def test_configuration_adds_roles_to_a_user() -> None:
    assert manager(user_roles={"bob": ["viewer"]}).authorize_action(User("bob"), "read", "runs/1")

"""Where secrets come from, and that they go nowhere."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from arklex_api.base import SecretKeyRef
from arklex_runtime.security.redaction import Redactor
from arklex_runtime.security.secrets import SecretNotFoundError, SecretResolver, variable_of

REF = SecretKeyRef(name="my-open.ai", key="apiKey")


def test_documents_come_before_variables_and_the_providers_own_last() -> None:
    variable = {"ARKLEX_SECRET_MY_OPEN_AI_APIKEY": "from variable\n"}
    usual = {"OPENAI_API_KEY": "usual"}
    documents = {"my-open.ai": {"apiKey": "from document"}}
    assert variable_of(REF) == next(iter(variable))
    assert SecretResolver(documents, variable).resolve(REF, "openai") == "from document"
    assert SecretResolver({}, {**variable, **usual}).resolve(REF, "openai") == "from variable"
    assert SecretResolver({}, usual).resolve(REF, "openai") == "usual"
    assert SecretResolver({}, usual).usual("openai") == "usual" and SecretResolver({}, {}).usual("openai") is None


def test_a_missing_secret_names_every_place_and_no_value() -> None:
    resolver = SecretResolver({"my-open.ai": {"other": "canary"}}, {"ARKLEX_SECRET_MY_OPEN_AI_APIKEY": ""})
    with pytest.raises(SecretNotFoundError) as caught:
        resolver.resolve(REF, "openai")
    words = str(caught.value)
    assert "canary" not in words
    assert all(place in words for place in ("key 'apiKey'", "ARKLEX_SECRET_MY_OPEN_AI_APIKEY", "OPENAI_API_KEY"))
    with pytest.raises(SecretNotFoundError):
        resolver.resolve(REF)


def test_all_values_are_known_for_redaction() -> None:
    resolver = SecretResolver({"a": {"k": "held"}}, {"ARKLEX_SECRET_MY_OPEN_AI_APIKEY": "given"})
    assert resolver.values() == frozenset() and resolver.all_values() == {"held"}
    resolver.resolve(REF)
    assert resolver.values() == {"given"} and resolver.all_values() == {"held", "given"}


def test_without_secrets_nothing_is_touched() -> None:
    redactor, value = Redactor(["", "abc", " \n"]), {"a": ["abc"]}
    assert not redactor and redactor.json(value) is value
    assert redactor.text("abc") == "abc" and redactor.bytes(b"abc") == b"abc"


def test_the_longest_secret_wins_and_keys_are_looked_at() -> None:
    redactor = Redactor(["pass", "password-1\n"])
    assert redactor.text("password-1 passport") == "*** ***port"
    assert redactor.json({"password-1": [1, None, True, "x pass"]}) == {"***": [1, None, True, "x ***"]}
    clean = {"a": [1, "b"]}
    assert redactor.json(clean) is clean


@given(secret=st.text(min_size=4, max_size=20), around=st.text(max_size=10))
def test_a_secret_is_found_in_every_form(secret: str, around: str) -> None:
    assume(len(secret.strip()) >= 4 and "*" not in secret)
    redactor = Redactor([secret])
    for ascii_only in (True, False):
        document = json.dumps({"a": around + secret + around}, ensure_ascii=ascii_only)
        cleaned = redactor.text(document)
        assert json.dumps(secret, ensure_ascii=ascii_only)[1:-1] not in cleaned
        assert redactor.bytes(document.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass") == cleaned
    assert secret not in redactor.text(around + secret + around)
    assert json.loads(json.dumps(redactor.json({"a": around + secret})))["a"] == redactor.text(around + secret)
    assert redactor.text(quote(secret, safe="")) == "***"
    assert redactor.text(urlencode({"k": secret})) == "k=***"
    assert redactor.text(base64.b64encode(secret.encode()).decode()) == "***"

"""The operator's environment."""

from __future__ import annotations

import pytest

from arklex_operator.settings import Settings, SettingsError

REDIS = {"ARKLEX_REDIS_URL": "redis://r:6379/0"}


def test_defaults_and_what_is_said() -> None:
    settings = Settings.read(REDIS)
    assert settings.worker_redis_url == "redis://r:6379/0" and settings.namespaces == () and settings.redis_acl == "managed"
    more = {
        "ARKLEX_NAMESPACES": "a, b,",
        "ARKLEX_IMAGES": '{"llm": "x:1"}',
        "ARKLEX_MAX_ROLLING": "0.25",
        "ARKLEX_WORKER_REDIS_URL": "rediss://out:6380/1",
    }
    settings = Settings.read(REDIS | more)
    assert settings.namespaces == ("a", "b") and settings.images == {"llm": "x:1"} and settings.max_rolling == 0.25
    assert settings.worker_redis_url == "rediss://out:6380/1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARKLEX_REDIS_URL", ""),
        ("ARKLEX_REDIS_URL", "r:6379"),
        ("ARKLEX_REDIS_ACL", "on"),
        ("ARKLEX_IMAGES", "llm=x"),
        ("ARKLEX_IMAGES", '{"llm": ""}'),
        ("ARKLEX_IMAGES", "[]"),
        ("ARKLEX_LEASE_SECONDS", "soon"),
        ("ARKLEX_LEASE_SECONDS", "nan"),
        ("ARKLEX_MAX_ROLLING", "2"),
        ("ARKLEX_HEALTH_PORT", "70000"),
        ("ARKLEX_IMAGE_PULL_POLICY", "Sometimes"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.read(REDIS | {name: value})

"""The corpus of addresses that a tool must not reach."""

from __future__ import annotations

import pytest

from arklex_runtime.tools.addresses import AddressPolicy

ALWAYS = [
    "169.254.169.254",
    "169.254.1.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "fe80::1",
    "fe80::1%1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "::",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "2002:a9fe:a9fe::1",
    "localhost",
    "",
]
PRIVATE = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::10.0.0.1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]


@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize("address", ALWAYS)
def test_metadata_and_addresses_of_no_host_are_always_refused(address: str, allow_private: bool) -> None:
    assert AddressPolicy(allow_private).refusal(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_a_choice(address: str) -> None:
    assert AddressPolicy(allow_private=True).refusal(address) is None
    assert AddressPolicy(allow_private=False).refusal(address)


@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str, allow_private: bool) -> None:
    assert AddressPolicy(allow_private).refusal(address) is None

"""Which addresses a tool may connect to: the guard against server-side request forgery (OWASP API7:2023).

It looks at the address of the very socket that is opened, so it holds whatever the name resolved to before, and for
numbers in disguise (decimal, IPv4 in IPv6, NAT64, 6to4).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Google, Azure, OpenStack
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's host
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
    )
)
"""Where clouds hand out credentials to whoever asks from inside."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_RESERVED = ipaddress.IPv4Network("240.0.0.0/4")


class AddressRefused(PermissionError):
    """A connection that policy forbids; nothing was sent."""


class AddressPolicy:
    """Metadata, link-local, multicast and unspecified addresses are always refused; all but the public internet on demand."""

    def __init__(self, allow_private: bool = True) -> None:
        """``allow_private``: also loopback, private and shared networks, as embedded use needs."""
        self.allow_private = allow_private

    def refusal(self, text: str) -> str | None:
        """Why the IP address ``text`` is refused, None where it is allowed."""
        try:
            address: Address = ipaddress.ip_address(text)
        except ValueError:
            return "is not an IP address"
        return next((why for each in _meant(address) if (why := self._why(each))), None)

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for the getaddrinfo entry ``info``: aiohttp's ``socket_factory``. Raises AddressRefused."""
        family, kind, protocol, _, address = info
        why = self.refusal(str(address[0]))
        if why is not None:
            raise AddressRefused(errno.EACCES, f"{address[0]} {why}")
        return socket.socket(family, kind, protocol)

    def _why(self, address: Address) -> str | None:
        if address in METADATA:
            return "is a cloud's metadata service"
        if address.is_link_local:
            return "is link-local"
        if address.is_multicast or address.is_unspecified or (address.version == 4 and address in _RESERVED):
            return "is no address of one host"
        if address.version == 6 and address in _LOCAL_NAT64:
            return "hides an IPv4 address"
        if not self.allow_private and not address.is_global:
            return "is not on the public internet, and private addresses are not allowed"
        return None


def _meant(address: Address) -> Iterator[Address]:
    """``address`` and the IPv4 address that it wraps."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
            if inner is not None:
                yield inner

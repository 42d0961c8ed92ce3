"""Addresses as configuration writes them (``host:port``, ``[::1]:port``), and what is loopback."""

from __future__ import annotations

import ipaddress


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` → (host without brackets, port). The form was validated by `config.settings`."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """True for an address of this machine's loopback (IPv4 mapped into IPv6 included)."""
    try:
        parsed = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback

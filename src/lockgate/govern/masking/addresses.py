"""Network address detectors: IPv4 and IPv6, with the prefix length or zone that may follow."""

from __future__ import annotations

import ipaddress

from lockgate.govern.masking.detector import REDACTED, Detector, matches


def _is_ipv4(found: bytes) -> bool:
    return all(int(part) <= 255 for part in found.partition(b"/")[0].split(b"."))


def _is_ipv6(found: bytes) -> bool:
    """Well-formed (RFC 4291, 2.2) and of some host: ``::`` alone is everywhere in code and names none."""
    text = found.partition(b"/")[0].partition(b"%")[0]
    if text == b"::":
        return False
    try:
        ipaddress.IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True


def _ipv4_partial(found: bytes) -> bytes:
    return found[: found.index(b".") + 1] + b"x.x.x"


def _ipv6_partial(found: bytes) -> bytes:
    first, _, _ = found.partition(b":")
    return first + b":" + REDACTED if first else REDACTED


ADDRESSES = (
    Detector(
        "ipv4",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        matches(
            r"(?<![0-9.])[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9])(?!\.[0-9])(?:/[0-9]{1,2}(?![0-9]))?",
            _is_ipv4,
        ),
        _ipv4_partial,
    ),
    Detector(
        "ipv6",
        r"[0-9A-Fa-f]::|::[0-9A-Fa-f]|(?:[0-9A-Fa-f]{1,4}:){6}",
        matches(
            r"(?<![0-9A-Za-z:.])(?:[0-9A-Fa-f]{0,4}:){2,8}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{1,4})?"
            r"(?![0-9A-Za-z:])(?!\.[0-9])(?:%[0-9A-Za-z_.-]{1,15})?(?:/[0-9]{1,3}(?![0-9]))?",
            _is_ipv6,
        ),
        _ipv6_partial,
    ),
)

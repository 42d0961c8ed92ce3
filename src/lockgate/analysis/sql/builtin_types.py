"""PostgreSQL's built-in types, each with the constant that stands for a value of it.

Apart from `masks`, which makes SQL of them: the same constants are written into result rows where a mask is
applied to what the server sends (`govern.masking`), so both mechanisms show the same. OIDs are those of
``pg_type.dat``, fixed for ever; the binary forms are those of the types' `…send` functions (manual, section 54.7).
A type that is not here has no constant that is sure to be valid, and becomes NULL.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

REDACTED: Final = "xxxx"
"""What stands for text. It holds no metacharacter of a regular expression."""

WIDEST_BITS: Final = 65_536
"""A bit string of a fixed length above this has no constant: it would be written out for every row."""


@dataclass(frozen=True, slots=True)
class BuiltinType:
    """One type: its name and OID, the OID of its arrays, and its constant in text and in binary format.

    The constant is that of the type without a modifier.
    """

    name: str
    oid: int
    array: int
    text: str
    binary: bytes


_DAYS: Final = -10_957                              # 1970-01-01, counted from 2000-01-01
_MICROSECONDS: Final = _DAYS * 86_400_000_000
_TEXT: Final = REDACTED.encode()
_JSON: Final = f'"{REDACTED}"'

_ALL: Final = tuple(BuiltinType(*row) for row in (
    ("bool", 16, 1000, "f", b"\0"),
    ("bytea", 17, 1001, "\\x", b""),
    ("char", 18, 1002, "x", b"x"),
    ("name", 19, 1003, REDACTED, _TEXT),
    ("int8", 20, 1016, "0", bytes(8)),
    ("int2", 21, 1005, "0", bytes(2)),
    ("int4", 23, 1007, "0", bytes(4)),
    ("text", 25, 1009, REDACTED, _TEXT),
    ("oid", 26, 1028, "0", bytes(4)),
    ("tid", 27, 1010, "(0,0)", bytes(6)),
    ("xid", 28, 1011, "0", bytes(4)),
    ("cid", 29, 1012, "0", bytes(4)),
    ("json", 114, 199, _JSON, _JSON.encode()),
    ("xml", 142, 143, REDACTED, _TEXT),
    ("point", 600, 1017, "(0,0)", bytes(16)),
    ("lseg", 601, 1018, "[(0,0),(0,0)]", bytes(32)),
    ("path", 602, 1019, "((0,0))", b"\1" + struct.pack("!i", 1) + bytes(16)),
    ("box", 603, 1020, "(0,0),(0,0)", bytes(32)),
    ("polygon", 604, 1027, "((0,0))", struct.pack("!i", 1) + bytes(16)),
    ("line", 628, 629, "{0,-1,0}", struct.pack("!ddd", 0, -1, 0)),
    ("cidr", 650, 651, "0.0.0.0/32", b"\2\x20\1\4" + bytes(4)),
    ("float4", 700, 1021, "0", bytes(4)),
    ("float8", 701, 1022, "0", bytes(8)),
    ("circle", 718, 719, "<(0,0),0>", bytes(24)),
    ("macaddr8", 774, 775, "00:00:00:00:00:00:00:00", bytes(8)),
    ("money", 790, 791, "0", bytes(8)),
    ("macaddr", 829, 1040, "00:00:00:00:00:00", bytes(6)),
    ("inet", 869, 1041, "0.0.0.0", b"\2\x20\0\4" + bytes(4)),  # noqa: S104 - a mask, not a bind address
    ("bpchar", 1042, 1014, REDACTED, _TEXT),
    ("varchar", 1043, 1015, REDACTED, _TEXT),
    ("date", 1082, 1182, "1970-01-01", struct.pack("!i", _DAYS)),
    ("time", 1083, 1183, "00:00:00", bytes(8)),
    ("timestamp", 1114, 1115, "1970-01-01 00:00:00", struct.pack("!q", _MICROSECONDS)),
    ("timestamptz", 1184, 1185, "1970-01-01 00:00:00+00", struct.pack("!q", _MICROSECONDS)),
    ("interval", 1186, 1187, "00:00:00", bytes(16)),
    ("timetz", 1266, 1270, "00:00:00+00", bytes(12)),
    ("bit", 1560, 1561, "0", struct.pack("!i", 1) + b"\0"),
    ("varbit", 1562, 1563, "", bytes(4)),
    ("numeric", 1700, 1231, "0", bytes(8)),
    ("refcursor", 1790, 2201, REDACTED, _TEXT),
    ("uuid", 2950, 2951, "00000000-0000-0000-0000-000000000000", bytes(16)),
    ("pg_lsn", 3220, 3221, "0/0", bytes(8)),
    ("tsvector", 3614, 3643, "", bytes(4)),
    ("tsquery", 3615, 3645, f"'{REDACTED}'", struct.pack("!i", 1) + b"\1\0\0" + _TEXT + b"\0"),
    ("jsonb", 3802, 3807, _JSON, b"\1" + _JSON.encode()),
    ("jsonpath", 4072, 4073, _JSON, b"\1" + _JSON.encode()),
    ("xid8", 5069, 271, "0", bytes(8)),
    *((f"{name}range", oid, array, "empty", b"\1") for name, oid, array in (
        ("int4", 3904, 3905), ("num", 3906, 3907), ("ts", 3908, 3909), ("tstz", 3910, 3911), ("date", 3912, 3913),
        ("int8", 3926, 3927))),
    *((f"{name}multirange", oid, array, "{}", bytes(4)) for name, oid, array in (
        ("int4", 4451, 6150), ("num", 4532, 6151), ("ts", 4533, 6152), ("tstz", 4534, 6153), ("date", 4535, 6155),
        ("int8", 4536, 6157))),
))

BY_NAME: Final = {kind.name: kind for kind in _ALL}
BY_OID: Final = {kind.oid: kind for kind in _ALL}
BY_ARRAY: Final = {kind.array: kind for kind in _ALL}
"""Array type → the type of its elements."""

EMPTY_ARRAY: Final = "{}"

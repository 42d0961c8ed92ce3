"""Column types: what may stand in a column of a type when part of its value has to go.

The numbers are PostgreSQL's fixed type OIDs (``pg_type.dat``). Stands apart from `conceal`, which
does the replacing: here is only the table. What is not in the table is `OTHER`: a hit makes it NULL.

Where detection cannot look, and does not claim to: `FREE` types (a float may hold a card's digits, a date a
birthday), base64 or compressed or encrypted bytes, character references in XML, a value spread over two
columns or rows, and numbers of more than 16 digits in the binary format of a type made at run time: what says that
they are no fractions is their first byte.
"""

from __future__ import annotations

from enum import Enum, auto

FIRST_USER_OID = 16384
"""OIDs from here on are given out at run time (FirstNormalObjectId): citext, enums, composites."""

BYTEA_OID = 17
NUMERIC_OID = 1700


class Shape(Enum):
    """How values of a type are looked into and replaced."""

    TEXT = auto()        # spans inside the text
    JSON = auto()        # spans inside string tokens; numbers become 0
    JSONB = auto()       # the same behind a version byte in binary
    BYTES = auto()       # hex in text format; spans inside the decoded bytes
    NUMBER = auto()      # whole numbers only; becomes 0
    NET = auto()         # addresses; becomes 0.0.0.0 or ::
    ARRAY = auto()       # element by element
    RANGE = auto()       # bound by bound; NULL on a hit
    RECORD = auto()      # field by field in binary, as text in text; NULL on a hit
    USER = auto()        # text if it is text, NULL otherwise
    FREE = auto()        # cannot hold what detectors look for
    OTHER = auto()       # NULL on a hit


ELEMENTS = {
    1002: 18, 1003: 19, 1009: 25, 1014: 1042, 1015: 1043, 1263: 2275, 143: 142, 199: 114, 3807: 3802,
    1001: 17, 1016: 20, 1231: 1700, 651: 650, 1041: 869, 3927: 3926, 3907: 3906, 2287: 2249,
    271: 5069, 6157: 4536, 6151: 4532,
}  # fmt: skip
"""Array types whose elements can hold a find, with their element types."""

RANGES = {3926: 20, 3906: 1700, 4536: 20, 4532: 1700}
"""Ranges and multiranges (the latter two) of numbers, with the types of their bounds."""

MULTIRANGES = frozenset((4536, 4532))

_SHAPES = {
    **dict.fromkeys((18, 19, 25, 142, 705, 1042, 1043, 2275), Shape.TEXT),
    114: Shape.JSON,
    3802: Shape.JSONB,
    17: Shape.BYTES,
    20: Shape.NUMBER,
    5069: Shape.NUMBER,         # xid8
    1700: Shape.NUMBER,
    650: Shape.NET,
    869: Shape.NET,
    2249: Shape.RECORD,
    **dict.fromkeys(RANGES, Shape.RANGE),
    **dict.fromkeys(ELEMENTS, Shape.ARRAY),
    # bool, int2, int4, oid, tid, xid, cid, float4, float8, money, macaddr(8), date and time types,
    # bit strings, uuid, pg_lsn, void, and the arrays of these
    **dict.fromkeys(
        (16, 21, 23, 26, 27, 28, 29, 700, 701, 790, 829, 774, 1082, 1083, 1114, 1184, 1186, 1266, 1560,
         1562, 2950, 3220, 2278, 1000, 1005, 1007, 1028, 1021, 1022, 1182, 1183, 1115, 1185, 1187, 1270,
         2951),
        Shape.FREE,
    ),
}  # fmt: skip

_HIDING = frozenset((Shape.NUMBER, Shape.NET, Shape.RANGE, Shape.RECORD, Shape.USER))


def shape_of(oid: int) -> Shape:
    """The shape of the type `oid`."""
    if oid >= FIRST_USER_OID:
        return Shape.USER
    return _SHAPES.get(oid, Shape.OTHER)


def hides_numbers(oid: int) -> bool:
    """Whether the binary format of the type can hold a number or an address that no search of its bytes shows."""
    return shape_of(ELEMENTS.get(oid, oid)) in _HIDING


def is_container(oid: int) -> bool:
    """Whether a value's binary format holds values with lengths of their own."""
    return shape_of(oid) in (Shape.ARRAY, Shape.RECORD, Shape.RANGE, Shape.USER, Shape.OTHER)

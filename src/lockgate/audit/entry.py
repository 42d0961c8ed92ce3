"""Leaves: the canonical bytes of one record, and the strict parser that takes nothing else.

A leaf is at most 4 KiB of RFC 8785 canonical JSON, restricted to ASCII keys, strings, booleans,
null, integers of magnitude below 2^53, arrays and objects: there are no floats, so that no two
serialisers can disagree. Within that subset orjson with sorted keys *is* RFC 8785 (a property test
compares it with the `rfc8785` package). Verifiers hash the stored bytes and never serialise again.

What a leaf says is made in `leaves`; this module only knows what a leaf may look like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from lockgate.audit.failures import MalformedEntry

VERSION: Final = 1
LEAF_LIMIT: Final = 4096
MAX_INTEGER: Final = 2**53 - 1
NO_PREVIOUS: Final = "0" * 64
_DEPTH: Final = 6
_OPTIONS: Final = (orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
                   | orjson.OPT_PASSTHROUGH_SUBCLASS)

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OPAQUE = re.compile(r"[!-~]{1,128}", re.ASCII)

_REQUIRED: Final[Mapping[str, Mapping[str, type]]] = {
    "node_start": {"epoch": int, "size": int, "root": str, "version": str},
    "node_stop": {"size": int, "root": str},
    "heartbeat": {"size": int, "root": str, "sessions": int},
    "session_begin": {"connection": str, "protocol": str, "policy": str, "principal": str, "payload": dict},
    "session_end": {"cause": str, "count": int, "root": str},
    "intent": {"kind": str, "verbs": list, "decision": str, "rules": list, "policy": str,
               "objects": list, "payload": dict},
    "rec_mark": {"data": dict},
    "recording_truncated": {"data": dict},
    "outcome": {"record": int, "status": str, "rows": int, "sent": int, "masked": dict, "duration": int},
}


_OF_SESSIONS: Final = frozenset(
    {"session_begin", "session_end", "intent", "outcome", "rec_mark", "recording_truncated"}
)


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of a value of the subset. Raises `MalformedEntry` for what lies outside it.

    Strings that are not Unicode (lone surrogates) are outside it: see `leaves.text`.
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise MalformedEntry(f"a record holds what canonical JSON cannot: {error}") from None


def require_subset(value: object, depth: int = _DEPTH) -> None:
    """Raise `MalformedEntry` unless the value keeps to the subset that leaves are written in."""
    if value is None or value is True or value is False or type(value) is str:
        return
    if type(value) is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise MalformedEntry("an integer is beyond 2^53")
    elif depth == 0:
        raise MalformedEntry("a leaf is nested too deeply")
    elif type(value) is list:
        for item in value:
            require_subset(item, depth - 1)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise MalformedEntry("a leaf's keys are ASCII strings")
            require_subset(item, depth - 1)
    else:
        raise MalformedEntry(f"a leaf holds no {type(value).__name__}")


def is_opaque(name: str) -> bool:
    """Whether a string may be an id in a leaf: printable ASCII without spaces, at most 128."""
    return _OPAQUE.fullmatch(name) is not None


def require_type(kind: str) -> None:
    """Raise `MalformedEntry` unless `kind` may name a type of record."""
    if not _TYPE.fullmatch(kind):
        raise MalformedEntry("a record's type is a lower-case name")


def parse(leaf: bytes) -> dict[str, Any]:
    """The record in a stored leaf.

    Raises `MalformedEntry` for bytes that are too long, not JSON, not canonical (which covers
    duplicate keys), of an unknown version, or without a field that their type must have.
    """
    if len(leaf) > LEAF_LIMIT:
        raise MalformedEntry("a leaf is longer than 4 KiB")
    try:
        record = orjson.loads(leaf)
    except orjson.JSONDecodeError:
        raise MalformedEntry("a leaf is not JSON") from None
    if type(record) is not dict:
        raise MalformedEntry("a leaf is not an object")
    require_subset(record)
    if orjson.dumps(record, option=orjson.OPT_SORT_KEYS) != leaf:
        raise MalformedEntry("a leaf is not canonical")
    _require_fields(record)
    return record


def _require_fields(record: Mapping[str, Any]) -> None:
    if type(record.get("v")) is not int or record["v"] != VERSION:
        raise MalformedEntry("a leaf has an unknown version")
    kind = record.get("type")
    if type(kind) is not str or not _TYPE.fullmatch(kind):
        raise MalformedEntry("a leaf has no type")
    for name in ("time", "index"):
        if type(record.get(name)) is not int or record[name] < 0:
            raise MalformedEntry(f"a leaf has no {name}")
    _require_opaque(record, "node")
    if "sid" in record:
        _require_opaque(record, "sid")
        if type(record.get("sseq")) is not int or record["sseq"] < 0:
            raise MalformedEntry("a session's leaf has no sequence number")
        _require_hash(record, "prev")
    elif kind in _OF_SESSIONS or "sseq" in record:
        raise MalformedEntry("a session's leaf names no session")
    for name, wanted in _REQUIRED.get(kind, {}).items():
        if type(record.get(name)) is not wanted:
            raise MalformedEntry(f"a leaf of type {kind} has no valid {name}")
    if "root" in record:
        _require_hash(record, "root")
    if "payload" in record:
        _require_payload(record["payload"])


def _require_payload(payload: object) -> None:
    if type(payload) is not dict:
        raise MalformedEntry("a leaf's payload is not an object")
    _require_hash(payload, "commitment")
    if type(payload.get("size")) is not int or payload["size"] < 0:
        raise MalformedEntry("a leaf's payload has no size")
    if payload.get("kept", False) is not False:
        raise MalformedEntry("a leaf's payload is marked in an unknown way")


def _require_opaque(record: Mapping[str, Any], name: str) -> None:
    value = record.get(name)
    if type(value) is not str or not _OPAQUE.fullmatch(value):
        raise MalformedEntry(f"a leaf has no valid {name}")


def _require_hash(record: Mapping[str, Any], name: str) -> None:
    value = record.get(name)
    if type(value) is not str or not _HASH.fullmatch(value):
        raise MalformedEntry(f"a leaf has no valid {name}")

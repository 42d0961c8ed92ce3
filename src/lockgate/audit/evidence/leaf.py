"""Leaves: the strict parser of one record's canonical bytes, which takes nothing else.

A leaf is at most 4 KiB of RFC 8785 canonical JSON, restricted to ASCII keys, strings, booleans,
null, integers of magnitude below 2^53, arrays and objects: there are no floats, so that no two
serialisers can disagree. Within that subset `json` and orjson with sorted keys *are* RFC 8785 (a
property test compares them with the `rfc8785` package). Verifiers hash the stored bytes; serialising
again only shows that there is no second way to write them.

What may follow what is in `ledger`; this module only knows what a leaf may look like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from lockgate.audit.evidence.failures import EvidenceError

VERSION = 1
LEAF_LIMIT = 4096
MAX_INTEGER = 2**53 - 1
NO_PREVIOUS = "0" * 64
_DEPTH = 6
_GRAMMAR = "leaf grammar"

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OPAQUE = re.compile(r"[!-~]{1,128}", re.ASCII)

_REQUIRED: Mapping[str, Mapping[str, type]] = {
    "node_start": {"epoch": int, "size": int, "root": str, "version": str},
    "node_stop": {"size": int, "root": str},
    "heartbeat": {"size": int, "root": str, "sessions": int},
    "session_begin": {"connection": str, "protocol": str, "policy": str, "principal": str, "payload": dict},
    "session_end": {"cause": str, "count": int, "root": str},
    "intent": {"kind": str, "verbs": list, "decision": str, "rules": list, "policy": str,
               "objects": list, "payload": dict},
    "key_rotate": {"data": dict, "payload": dict},
    "shard_checkpoint": {"data": dict},
    "rec_mark": {"data": dict},
    "recording_truncated": {"data": dict},
    "outcome": {"record": int, "status": str, "rows": int, "sent": int, "masked": dict, "duration": int},
}
_OF_SESSIONS = frozenset(
    {"session_begin", "session_end", "intent", "outcome", "rec_mark", "recording_truncated"}
)


def load_json(data: bytes) -> Any:
    """The value of JSON text (RFC 8259, UTF-8). Raises ValueError for anything else, lone surrogates included."""
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        if b"\\u" in data:
            dump_json(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def dump_json(value: Any) -> bytes:
    """RFC 8785 bytes of a value of the subset. Raises ValueError where a string is no Unicode."""
    return _ENCODER.encode(value).encode("utf-8")


def _no_constant(text: str) -> Any:
    raise ValueError(text + " is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_load: Callable[[bytes], Any] = load_json
_dump: Callable[[Any], bytes] = dump_json


def use_json(load: Callable[[bytes], Any], dump: Callable[[Any], bytes]) -> None:
    """Read and write JSON with a library's functions of the same contract from here on."""
    global _load, _dump
    _load, _dump = load, dump


def require_subset(value: Any, what: str = "a leaf", check: str = _GRAMMAR, depth: int = _DEPTH) -> None:
    """Raise unless the value keeps to the subset that records are written in."""
    if value is None or value is True or value is False or type(value) is str:
        return
    if type(value) is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise EvidenceError(check, f"{what} holds a number that is no integer below 2^53")
    elif depth == 0:
        raise EvidenceError(check, f"{what} is nested too deeply")
    elif type(value) is list:
        for item in value:
            require_subset(item, what, check, depth - 1)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise EvidenceError(check, f"{what} has keys that are not ASCII")
            require_subset(item, what, check, depth - 1)
    else:
        raise EvidenceError(check, f"{what} holds a number that is no integer below 2^53")


def canonical_object(data: bytes, what: str, check: str) -> dict[str, Any]:
    """The object in canonical JSON. Raises (tampered) for bytes that are not JSON, not an object, not
    canonical (which covers repeated keys), or outside the subset.
    """
    try:
        value = _load(data)
    except ValueError:
        raise EvidenceError(check, f"{what} is not JSON") from None
    if type(value) is not dict:
        raise EvidenceError(check, f"{what} is not an object")
    require_subset(value, what, check)
    if _dump(value) != data:
        raise EvidenceError(check, f"{what} is not canonical")
    return value


def parse_leaf(leaf: bytes) -> dict[str, Any]:
    """The record in a stored leaf.

    Raises for bytes that are too long, not canonical JSON, of an unknown version, or without a field
    that their type must have.
    """
    if len(leaf) > LEAF_LIMIT:
        raise EvidenceError(_GRAMMAR, "a leaf is longer than 4 KiB")
    record = canonical_object(leaf, "a leaf", _GRAMMAR)
    _require_fields(record)
    return record


def _require_fields(record: Mapping[str, Any]) -> None:
    if type(record.get("v")) is not int or record["v"] != VERSION:
        raise EvidenceError(_GRAMMAR, "a leaf has an unknown version")
    kind = record.get("type")
    if type(kind) is not str or not _TYPE.fullmatch(kind):
        raise EvidenceError(_GRAMMAR, "a leaf has no type")
    for name in ("time", "index"):
        if type(record.get(name)) is not int or record[name] < 0:
            raise EvidenceError(_GRAMMAR, f"a leaf has no {name}")
    _require_opaque(record, "node")
    if "sid" in record:
        _require_opaque(record, "sid")
        if type(record.get("sseq")) is not int or record["sseq"] < 0:
            raise EvidenceError(_GRAMMAR, "a session's leaf has no sequence number")
        _require_hash(record, "prev")
    elif kind in _OF_SESSIONS or "sseq" in record:
        raise EvidenceError(_GRAMMAR, "a session's leaf names no session")
    for name, wanted in _REQUIRED.get(kind, {}).items():
        if type(record.get(name)) is not wanted:
            raise EvidenceError(_GRAMMAR, f"a leaf of type {kind} has no valid {name}")
    if "root" in record:
        _require_hash(record, "root")
    if "payload" in record:
        _require_payload(record["payload"])


def _require_payload(payload: object) -> None:
    if type(payload) is not dict:
        raise EvidenceError(_GRAMMAR, "a leaf's payload is not an object")
    _require_hash(payload, "commitment")
    if type(payload.get("size")) is not int or payload["size"] < 0:
        raise EvidenceError(_GRAMMAR, "a leaf's payload has no size")
    if payload.get("kept", False) is not False:
        raise EvidenceError(_GRAMMAR, "a leaf's payload is marked in an unknown way")


def _require_opaque(record: Mapping[str, Any], name: str) -> None:
    value = record.get(name)
    if type(value) is not str or not _OPAQUE.fullmatch(value):
        raise EvidenceError(_GRAMMAR, f"a leaf has no valid {name}")


def _require_hash(record: Mapping[str, Any], name: str) -> None:
    value = record.get(name)
    if type(value) is not str or not _HASH.fullmatch(value):
        raise EvidenceError(_GRAMMAR, f"a leaf has no valid {name}")

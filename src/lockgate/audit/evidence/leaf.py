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
from functools import lru_cache
from typing import Any, Final

from lockgate.audit.evidence.failures import EvidenceError

VERSION = 1
LEAF_LIMIT: Final = 4096
MAX_INTEGER = 2**53 - 1
NO_PREVIOUS: Final = "0" * 64
_DEPTH = 6
_GRAMMAR = "leaf grammar"

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_OPAQUE = re.compile(r"[!-~]{1,128}", re.ASCII)

_REQUIRED: dict[str, dict[str, type]] = {
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

_FORMS: list[type] = [str, int, list, dict]
_FIELDS_OF: dict[str, list[tuple[str, int]]] = {
    kind: [(name, _FORMS.index(form)) for name, form in fields.items()] for kind, fields in _REQUIRED.items()
}
_NO_FIELDS: list[tuple[str, int]] = []


def data_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says besides its own fields; nothing where that is no object."""
    data = record.get("data")
    return data if isinstance(data, dict) else {}


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


def read_json(data: bytes) -> Any:
    """As `load_json`, by whatever was put in its place."""
    return _load(data)


def write_json(value: Any) -> bytes:
    """As `dump_json`, by whatever was put in its place."""
    return _dump(value)


def require_subset(value: object, what: str = "a leaf", check: str = _GRAMMAR, depth: int = _DEPTH) -> None:
    """Raise unless the value, as JSON was read into it, keeps to the subset that records are written in."""
    if isinstance(value, (str, bool)) or value is None:
        return
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise EvidenceError(check, f"{what} holds a number that is no integer below 2^53")
        return
    if depth == 0:
        raise EvidenceError(check, f"{what} is nested too deeply")
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, str):
                require_subset(item, what, check, depth - 1)
    elif isinstance(value, dict):
        for item in value.values():
            if not isinstance(item, str):
                require_subset(item, what, check, depth - 1)
    else:
        raise EvidenceError(check, f"{what} holds a number that is no integer below 2^53")


def _require_ascii_keys(value: object, what: str, check: str) -> None:
    """Of a value that is not nested too deeply."""
    if isinstance(value, list):
        for item in value:
            _require_ascii_keys(item, what, check)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not key.isascii():
                raise EvidenceError(check, f"{what} has keys that are not ASCII")
            _require_ascii_keys(item, what, check)


def canonical_object(data: bytes, what: str, check: str) -> dict[str, Any]:
    """The object in canonical JSON. Raises (tampered) for bytes that are not JSON, not an object, not
    canonical (which covers repeated keys), or outside the subset.
    """
    try:
        value = _load(data)
    except ValueError:
        raise EvidenceError(check, f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise EvidenceError(check, f"{what} is not an object")
    require_subset(value, what, check)
    if not data.isascii():
        _require_ascii_keys(value, what, check)
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


def _require_fields(record: dict[str, Any]) -> None:
    if not is_count(record.get("v")) or record["v"] != VERSION:
        raise EvidenceError(_GRAMMAR, "a leaf has an unknown version")
    kind = record.get("type")
    if not isinstance(kind, str) or (kind not in _REQUIRED and not _TYPE.fullmatch(kind)):
        raise EvidenceError(_GRAMMAR, "a leaf has no type")
    if not is_count(record.get("time")):
        raise EvidenceError(_GRAMMAR, "a leaf has no time")
    if not is_count(record.get("index")):
        raise EvidenceError(_GRAMMAR, "a leaf has no index")
    _require_opaque(record, "node")
    if "sid" in record:
        _require_opaque(record, "sid")
        if not is_count(record.get("sseq")):
            raise EvidenceError(_GRAMMAR, "a session's leaf has no sequence number")
        prev = record.get("prev")
        if not isinstance(prev, str) or len(prev) != 64:    # that it is a hash says the one that it is equal to
            raise EvidenceError(_GRAMMAR, "a leaf has no valid prev")
    elif kind in _OF_SESSIONS or "sseq" in record:
        raise EvidenceError(_GRAMMAR, "a session's leaf names no session")
    for name, form in _FIELDS_OF.get(kind, _NO_FIELDS):
        value = record.get(name)
        if not (isinstance(value, str) if form == 0 else is_count(value) if form == 1
                else isinstance(value, list) if form == 2 else isinstance(value, dict)):
            raise EvidenceError(_GRAMMAR, f"a leaf of type {kind} has no valid {name}")
    if "root" in record:
        _require_hash(record, "root")
    if "payload" in record:
        _require_payload(record["payload"])


def is_count(value: object) -> bool:
    """Whether a value of JSON is an integer that is not negative."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _require_payload(payload: object) -> None:
    if not isinstance(payload, dict):
        raise EvidenceError(_GRAMMAR, "a leaf's payload is not an object")
    _require_hash(payload, "commitment")
    if not is_count(payload.get("size")):
        raise EvidenceError(_GRAMMAR, "a leaf's payload has no size")
    if payload.get("kept", False) is not False:
        raise EvidenceError(_GRAMMAR, "a leaf's payload is marked in an unknown way")


def _require_opaque(record: dict[str, Any], name: str) -> None:
    value = record.get(name)
    if not isinstance(value, str) or not _is_id(value):
        raise EvidenceError(_GRAMMAR, f"a leaf has no valid {name}")


def _opaque_id(value: str) -> bool:
    return _OPAQUE.fullmatch(value) is not None


# Ids come again and again: remembering some is a third of the time of matching them.
_is_id = lru_cache(maxsize=1024)(_opaque_id)


def is_hash(value: object) -> bool:
    """Whether a value is 64 lower-case hexadecimal digits."""
    if not isinstance(value, str) or len(value) != 64:
        return False
    try:
        return bytes.fromhex(value).hex() == value
    except ValueError:
        return False


def _require_hash(record: dict[str, Any], name: str) -> None:
    if not is_hash(record.get(name)):
        raise EvidenceError(_GRAMMAR, f"a leaf has no valid {name}")

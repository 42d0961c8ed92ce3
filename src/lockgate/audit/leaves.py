"""From the words of `model` to leaves: what is public in a record, and what goes into its payload.

A leaf names sessions, rules, objects and hashes; people appear as *principals* only (a keyed hash
that is equal for the same person, so that "reviewer ≠ requester" can be checked on leaves alone).
Names, statements, parameters and bytes are payload, which the leaf commits to.

Built in the writer's thread. Whatever a request contains, its leaf fits: lists that are too long
are cut with a count (``objects_more``) and the payload then holds them whole.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple, cast

import orjson

from lockgate.audit.entry import LEAF_LIMIT, MAX_INTEGER, canonical
from lockgate.audit.evidence.salting import bound_to
from lockgate.audit.failures import MalformedEntry
from lockgate.model import Erasure, Event, Intent, Outcome, SessionStart

RESERVED: Final = frozenset(
    {"node_start", "node_stop", "heartbeat", "key_rotate", "session_begin", "session_end", "intent", "outcome", "rec_mark",
     "recording_truncated", "shard_checkpoint"}
)
REVIEWS: Final = frozenset({"review_request", "review"})
ADMIN: Final = frozenset(
    {"config_change", "erasure", "erasure_refused", "export", "key_rotate", "legal_hold", "recording_view", "verify_run"}
)
"""Acts of those who run the gateway. Their payload names who did it and why."""
_PEOPLED: Final = REVIEWS | ADMIN
_LISTS: Final = {"objects": 1200, "rules": 600, "verbs": 600}     # bytes that a cut list may take
_STRING: Final = 64                                               # characters that a cut string may have
_MASKED: Final = 32                                               # detectors named in one outcome
_DATA: Final = 1500                                               # bytes that an event's fields may take

Fields = dict[str, Any]


class Draft(NamedTuple):
    """A record before it has a place in the log: the leaf's own fields, and its payload or None.

    Whoever takes a draft owns its `fields`: the writer adds the record's place to them. A tuple,
    because two of them are made for every statement.
    """

    fields: Fields
    payload: Fields | None = None


def principal(key: bytes, issuer: str, subject: str) -> str:
    """The opaque id of a person or workload: HMAC-SHA256 over issuer and subject, 128 bits."""
    message = f"lockgate/principal/v1\0{issuer}\0{subject}"
    return hmac.digest(key, message.encode("utf-8", "replace"), "sha256").hex()[:32]


def purpose(key: bytes, reason: str) -> str:
    """The opaque id of a reason: which one an erasure was approved for can be checked on leaves alone."""
    message = f"lockgate/purpose/v1\0{reason}"
    return hmac.digest(key, message.encode("utf-8", "replace"), "sha256").hex()[:32]


def begin(start: SessionStart, key: bytes) -> Draft:
    """`session_begin`: which connection, under which policy; who is asking is payload."""
    fields: Fields = {
        "type": "session_begin", "connection": start.connection, "protocol": start.protocol,
        "policy": start.policy_hash, "token": start.token_hash,
        "principal": principal(key, start.issuer, start.subject),
    }
    if start.certificate is not None:
        fields["certificate"] = start.certificate
    return Draft(fields, {
        "issuer": start.issuer, "subject": start.subject, "agent": start.agent, "model": start.model,
        "client": start.client_id, "groups": sorted(start.groups), "peer": start.peer,
        "claims": [[name, start.claims[name]] for name in sorted(start.claims)],
    })


def ticket_salt(key: bytes, ticket: str) -> str:
    """The salt of what leaves show of a ticket's binding (`evidence.salting`); whoever has no payload of it cannot
    try statements.
    """
    return hmac.digest(key, f"lockgate/binding-salt/v1\0{ticket}".encode("utf-8", "replace"), "sha256").hex()[:32]


def intent(value: Intent, key: bytes) -> Draft:
    """`intent`: what is about to be forwarded, or was refused."""
    fields: Fields = {
        "type": "intent", "kind": value.kind, "verbs": list(value.verbs), "decision": value.decision,
        "rules": list(value.rules), "policy": value.policy_hash, "objects": list(value.objects),
    }
    if value.mask_plan:
        fields["mask"] = value.mask_plan
    payload: Fields = {
        "text": value.text, "parameters": list(value.parameters),
        "forwarded": b2a_base64(value.forwarded, newline=False).decode(),
    }
    if value.peer:
        payload["peer"] = value.peer
    if value.ticket is not None:
        fields["ticket"] = value.ticket
    if value.ticket is not None and value.binding is not None:
        salt = ticket_salt(key, value.ticket)
        fields["binding"] = bound_to(salt, value.binding)
        payload |= {"reading": value.reading, "context": list(value.context), "salt": salt}
    if value.refusal is not None:
        fields["refusal"] = value.refusal
    return Draft(fields, payload)


def outcome(value: Outcome) -> Draft:
    """`outcome`: how a forwarded request ended. The duration becomes whole microseconds."""
    fields: Fields = {
        "type": "outcome", "record": value.record, "status": value.status.value, "rows": _count(value.rows),
        "sent": _count(value.sent), "masked": {}, "duration": _count(value.duration * 1_000_000),
    }
    if value.masked:
        names = sorted(value.masked)[:_MASKED]
        fields["masked"] = {_ascii(name): _count(value.masked[name]) for name in names}
    if value.code:
        fields["code"] = value.code
    return Draft(fields)


def unknown_outcome(record: int, reason: str) -> Draft:
    """The outcome of an intent that nobody will report on: the backend may have executed it."""
    return Draft({"type": "outcome", "record": record, "status": "unknown", "reason": reason, "rows": 0,
                  "sent": 0, "masked": {}, "duration": 0})


def draft(value: object, key: bytes) -> Draft:
    """The draft of any value of `model` that is a record; a draft is returned as it is.

    `key` is the log's key for principals.
    """
    kind = type(value)
    if kind is Intent:
        return intent(cast(Intent, value), key)
    if kind is Outcome:
        return outcome(cast(Outcome, value))
    if kind is SessionStart:
        return begin(cast(SessionStart, value), key)
    if kind is Event:
        return event(cast(Event, value), key)
    if kind is Erasure:
        return erasure(cast(Erasure, value), key)
    return cast(Draft, value)


def event(value: Event, key: bytes) -> Draft:
    """Any other record. Its fields are ids and numbers (``data``); its payload is opaque bytes."""
    data = {_ascii(name): plain(field) for name, field in value.fields.items()}
    if value.type in REVIEWS and "binding" in data:
        data["binding"] = bound_to(ticket_salt(key, str(data.get("ticket"))), str(data["binding"]))
    fields: Fields = {"type": value.type, "data": data}
    payload: Fields | None = None
    if value.payload:
        payload = _body(value.payload)
        if value.type in _PEOPLED:
            fields |= _people(value.payload, key)
    if len(_encode(data)) > _DATA:
        payload = {**(payload or {}), "data": data}
        fields["data"] = {name: field for name, field in data.items() if len(_encode(field)) <= 2 * _STRING}
        if len(_encode(fields["data"])) > _DATA:
            fields["data"] = {}
        fields["data_more"] = len(data) - len(fields["data"])
    return Draft(fields, payload)


def erasure(value: Erasure, key: bytes) -> Draft:
    """`erasure`: what is destroyed with it. Its ranges are never cut, because they are what happens."""
    data: Fields = {
        "cause": value.cause, "ranges": [list(pair) for pair in value.ranges],
        "approvals": 1 if value.reviewer is None else 2, "purpose": purpose(key, value.reason),
    }
    if value.ticket is not None:
        data |= {"ticket": value.ticket, "rest": value.rest, "salt": ticket_salt(key, value.ticket)}
    people: Fields = {"requester": list(value.requester), "reason": value.reason}
    fields: Fields = {"type": "erasure", "data": data, "requester": principal(key, *value.requester)}
    if value.reviewer is not None:
        people["reviewer"] = list(value.reviewer)
        fields["reviewer"] = principal(key, *value.reviewer)
    return Draft(fields, {"body": _encode(people).decode()})


def _people(payload: bytes, key: bytes) -> Fields:
    """Requester and reviewer of a review as principals, where the payload names them."""
    try:
        people = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    found: Fields = {}
    for role in ("requester", "reviewer"):
        pair = people.get(role) if isinstance(people, dict) else None
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
            found[role] = principal(key, pair[0], pair[1])
    return found


def _body(payload: bytes) -> Fields:
    try:
        return {"body": payload.decode()}
    except UnicodeDecodeError:
        return {"bytes": b64encode(payload).decode()}


def weight(value: object) -> int:
    """About how many bytes of somebody else's a record holds."""
    if type(value) is Intent:
        return len(value.text) + len(value.forwarded) + sum(map(len, filter(None, value.parameters)))
    return len(value.payload) if type(value) is Event else 0


def encode_payload(payload: Fields) -> bytes:
    """The canonical bytes that a commitment covers."""
    return _encode(payload)


def encode_leaf(fields: Fields) -> bytes | None:
    """The leaf, or None where it is too long and has to be cut first."""
    leaf = _encode(fields)
    return leaf if len(leaf) <= LEAF_LIMIT else None


def cut(draft: Draft) -> Draft:
    """The same record with a leaf that fits whatever it holds; the payload takes what is cut."""
    fields = dict(draft.fields)
    whole: Fields = {}
    for name, value in draft.fields.items():
        if name in _LISTS:
            kept = _head(value, _LISTS[name])
            if kept != value:
                whole[name] = list(value)
                fields[name] = kept
                fields[f"{name}_more"] = len(value) - len(kept)
        elif isinstance(value, str) and len(value) > _STRING:
            whole[name] = value
            fields[name] = value[:_STRING]
        elif name == "masked":
            fields[name] = {key[:_STRING]: count for key, count in list(value.items())[:8]}
    return Draft(fields, {**(draft.payload or {}), "whole": whole})


def _head(items: list[str], limit: int) -> list[str]:
    kept: list[str] = []
    for item in items:
        limit -= len(_encode(item)) + 1
        if limit < 0:
            break
        kept.append(item)
    return kept


def plain(value: object, depth: int = 3) -> object:
    """A value of the canonical subset that says the same: what is not in it becomes a string."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)
    if isinstance(value, str):
        return str(value)
    if depth and isinstance(value, Mapping):
        return {_ascii(str(name)): plain(item, depth - 1) for name, item in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [plain(item, depth - 1) for item in value]
    if depth and isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    return sha256(bytes(value)).hexdigest() if isinstance(value, (bytes, bytearray)) else str(value)


def _encode(value: object) -> bytes:
    try:
        return canonical(value)
    except MalformedEntry:
        return canonical(unicode_only(value))


def unicode_only(value: object) -> object:
    """The same value with lone surrogates, which UTF-8 cannot carry, as question marks."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {unicode_only(name): unicode_only(item) for name, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        return [unicode_only(item) for item in value]
    return value


def _ascii(name: str) -> str:
    return name if name.isascii() else name.encode("ascii", "backslashreplace").decode()


def _count(number: float) -> int:
    whole = int(number)
    return whole if 0 <= whole <= MAX_INTEGER else min(max(whole, 0), MAX_INTEGER)

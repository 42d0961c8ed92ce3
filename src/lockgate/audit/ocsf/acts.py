"""What is not a request: sessions (3002), decisions of people (3003), the log's own administration (3004,
6003), and the gateway's life (6002).

A type that has no place of its own here is an API Activity under its name: an event that nobody foresaw
still reaches the SIEM. Marks of recordings (`rec_mark`) are the one type that gives none: one a second, and
the session's end says what they came to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lockgate.audit.export.told import Told
from lockgate.audit.ocsf.envelope import (
    ALLOWED,
    DENIED,
    FAILURE,
    OBSERVED,
    SUCCESS,
    UNKNOWN,
    Event,
    Frame,
    Result,
    actor,
    connection,
    session,
    session_user,
    source,
    user,
)

_LIFE: Final = {
    "node_start": ((3, "Start"), "the gateway started"), "node_stop": ((4, "Stop"), "the gateway stopped"),
    "heartbeat": ((99, "Heartbeat"), "the gateway lives"),
}
_CREATE, _READ, _UPDATE, _DELETE = (1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete")
_OTHER: Final = (99, "Other")
_API: Final[Mapping[str, tuple[tuple[int, str], int]]] = {      # type → activity and severity
    "config_change": (_UPDATE, 2), "export": (_READ, 2), "recording_view": (_READ, 2), "verify_run": (_READ, 1),
    "recording_truncated": (_OTHER, 3), "cancel": (_OTHER, 1),
    "tool_pinned": (_CREATE, 2), "tool_changed": (_UPDATE, 3), "tool_accepted": (_UPDATE, 2), "server_refused": (_OTHER, 3),
}
_VERDICTS: Final = {
    "approved": ((1, "Assign Privileges"), Result(2, SUCCESS, ALLOWED, "allowed")),
    "denied": ((99, "Deny"), Result(2, FAILURE, DENIED, "blocked")),
}


def began(frame: Frame, told: Told) -> list[Event]:
    """3002: a log-in that was admitted."""
    event = frame.event(told, 3002, (1, "Logon"), Result(1, SUCCESS, ALLOWED, "allowed"),
                        f"a session began on {connection(told)}")
    event |= _authentication(told)
    event["unmapped"]["policy"] = told.leaf.record["policy"]
    claims = told.who.get("claims")
    if isinstance(claims, list) and claims:
        event["unmapped"]["claims"] = claims
    return [event]


def ended(frame: Frame, told: Told) -> list[Event]:
    """3002: the end of a session, with its root and what was recorded of it."""
    record = told.leaf.record
    event = frame.event(told, 3002, (2, "Logoff"), Result(detail=str(record["cause"])),
                        f"a session ended on {connection(told)}")
    event |= _authentication(told)
    event["unmapped"] |= {"count": record["count"], "root": record["root"]}
    if "coverage" in record:
        event["unmapped"]["coverage"] = record["coverage"]
    if told.begin is not None:
        event["start_time"], event["end_time"] = told.begin.record["time"], record["time"]
        event["duration"] = max(0, record["time"] - told.begin.record["time"])
    return [event]


def _authentication(told: Told) -> Event:
    return {
        "user": session_user(told), "actor": actor(told), "session": session(told), "src_endpoint": source(told),
        "service": {"name": connection(told)}, "auth_protocol_id": 4, "auth_protocol": "OpenID",
        "logon_type_id": 3, "logon_type": "Network", "is_remote": True,
    }


def access_denied(frame: Frame, told: Told) -> list[Event]:
    """3003: a log-in that no policy admits. Who it was is not in the log, the token's hash is."""
    data = _data(told)
    event = frame.event(told, 3003, (99, "Deny"), Result(3, FAILURE, DENIED, "blocked"),
                        f"no access to {data.get('connection', 'a connection')}")
    token = str(data.get("token", "unknown"))
    event |= {"user": {"uid": "unknown", "type_id": 0, "credential_uid": token}, "privileges": ["connect"],
              "dst_endpoint": {"svc_name": str(data.get("connection", "unknown"))}}
    event["unmapped"]["data"] = data
    return [event]


def reviewed(frame: Frame, told: Told) -> list[Event]:
    """3003: a request was held for a person, or a person has decided."""
    record, data = told.leaf.record, _data(told)
    requester, reviewer = _person(told, "requester"), _person(told, "reviewer")
    ticket = str(data.get("ticket", "unknown"))
    if record["type"] == "review_request":
        activity, result, said = (99, "Request Review"), Result(1, UNKNOWN, OBSERVED, "delayed"), "waits for a person"
    else:
        verdict = str(data.get("verdict", "unknown"))
        activity, result = _VERDICTS.get(verdict, ((99, "Withdraw"), Result(1, FAILURE, DENIED, "blocked")))
        said = f"was {verdict}" if reviewer is not None else f"is {verdict}"
    event = frame.event(told, 3003, activity, result, f"ticket {ticket} {said}")
    event |= {"user": requester or user("unknown"), "privileges": [f"execute once: {ticket}"],
              "actor": {"user": reviewer or requester or user("unknown")},
              "dst_endpoint": {"svc_name": str(data.get("connection", "unknown"))}}
    if "sid" in record:
        event["session"] = session(told)
    event["unmapped"]["data"] = data
    return [event]


def administered(frame: Frame, told: Told) -> list[Event]:
    """3004: erasures, such as were refused, legal holds, a new key of the log."""
    record, data = told.leaf.record, _data(told)
    kind, result = record["type"], Result(3, SUCCESS, ALLOWED, "allowed")
    if kind == "erasure":
        activity, severity = _DELETE, 3
        entity: Event = {"name": "payloads", "type": "log payloads", "type_id": 99, "data": data}
        message = f"payloads were erased ({data.get('cause', 'no cause')})"
    elif kind == "erasure_refused":
        activity, severity = _DELETE, 3
        result = Result(3, FAILURE, DENIED, "blocked", str(data.get("code", "")))
        entity = {"name": "payloads", "type": "log payloads", "type_id": 99, "data": data}
        message = "an approved erasure was not carried out"
    elif kind == "legal_hold":
        is_set = data.get("action") == "set"
        activity, severity = (_CREATE if is_set else _DELETE), 2
        entity = {"name": str(data.get("hold", "unknown")), "type": "legal hold", "type_id": 99, "data": data}
        message = f"legal hold {data.get('hold', 'unknown')}: {data.get('action', 'unknown')}"
    else:
        activity, severity = _UPDATE, 3
        entity = {"name": frame.origin, "type": "log key", "type_id": 99, "data": data}
        message = "the log's key was replaced"
    event = frame.event(told, 3004, activity, replace(result, severity=severity), message)
    event |= {"entity": entity, "actor": _administrator(told), "src_endpoint": source(told)}
    reviewer = _person(told, "reviewer")
    if reviewer is not None:
        event["unmapped"]["reviewer"] = reviewer
    return [event]


def lived(frame: Frame, told: Told) -> list[Event]:
    """6002: the gateway's process starts, stops, or says that it is there."""
    record = told.leaf.record
    activity, message = _LIFE[record["type"]]
    event = frame.event(told, 6002, activity, Result(), message)
    event["app"] = {"name": "Lockgate", "vendor_name": "Lockgate", "version": str(record.get("version", frame.version)),
                    "uid": record["node"]}
    event["unmapped"] |= {name: record[name] for name in ("epoch", "size", "root", "sessions", "data", "clock")
                          if name in record}
    return [event]


def called(frame: Frame, told: Told) -> list[Event]:
    """6003: anything else that somebody did, or that happened, under the name of its type."""
    record = told.leaf.record
    activity, severity = _API.get(record["type"], (_OTHER, 1))
    event = frame.event(told, 6003, activity, Result(severity), record["type"].replace("_", " "))
    event |= {
        "api": {"operation": record["type"], "service": {"name": "lockgate"}}, "src_endpoint": source(told),
        "actor": actor(told) if "sid" in record else _administrator(told),
    }
    event["unmapped"]["data"] = _data(told)
    return [event]


def _administrator(told: Told) -> Event:
    """Whoever did it. A new key's leaf names nobody, not even by an opaque id: only its payload does."""
    found = _person(told, "requester")
    named = told.payload.get("actor")
    if found is None and named is not None:
        found = user(f"{named[0]}:{named[1]}", str(named[1]))
    return {"user": found} if found is not None else {"app_name": "lockgate", "app_uid": told.leaf.record["node"]}


def _person(told: Told, role: str) -> Event | None:
    principal = told.leaf.record.get(role)
    if not isinstance(principal, str):
        return None
    named = told.payload.get(role)
    return user(principal, str(named[1]) if isinstance(named, list) else "")


def _data(told: Told) -> dict[str, Any]:
    data = told.leaf.record.get("data")
    return data if isinstance(data, dict) else {}

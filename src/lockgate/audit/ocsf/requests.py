"""Requests: one event for each that ended or was refused (6005, 4002 or 4007 by the protocol), one for what
was masked in its result (2006), and one for a refusal as a decision about the session (3003).

An intent that was forwarded gives no event of its own: its outcome follows it in the log, also after a
crash, and the event then says both. ``unmapped.intent`` names the intent's entry and hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lockgate.audit.evidence.ledger import is_refused
from lockgate.audit.export.told import Told
from lockgate.audit.ocsf.envelope import (
    ALLOWED,
    DENIED,
    FAILURE,
    MODIFIED,
    OTHER,
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
)
from lockgate.model import Activity

_DATASTORE: Final = (           # the first that a request has names it: what destroys before what reads
    (("delete", "truncate", "drop"), (7, "Delete")),
    (("create",), (6, "Create")),
    (("update", "alter", "grant", "revoke", "merge"), (2, "Update")),
    (("insert", "copy", "write"), (5, "Write")),
    (("select", "read", "fetch"), (1, "Read")),
)
_WEB: Final = {
    "connect": (1, "Connect"), "delete": (2, "Delete"), "get": (3, "Get"), "head": (4, "Head"),
    "options": (5, "Options"), "post": (6, "Post"), "put": (7, "Put"), "trace": (8, "Trace"), "patch": (9, "Patch"),
}
_UNNAMED: Final = (99, "Other")


def refused(frame: Frame, told: Told, activity: Activity) -> list[Event]:
    """Events of an intent that went nowhere."""
    record = told.leaf.record
    result = Result(2, FAILURE, DENIED, "blocked", code=str(record.get("refusal", "")), detail=_rules(record))
    request = _request(frame, told, record, activity, result)
    decision = frame.event(told, 3003, (99, "Deny"), result, f"{_verbs(record)} on {connection(told)} was refused",
                           second=True)
    decision |= {"user": session_user(told), "session": session(told), "actor": actor(told),
                 "privileges": [str(verb) for verb in record["verbs"][:32]] or ["none"],
                 "dst_endpoint": {"svc_name": connection(told)}}
    return [request, decision]


def settled(frame: Frame, told: Told, activity: Activity) -> list[Event]:
    """Events of an outcome."""
    outcome = told.leaf.record
    intent: Mapping[str, Any] = {} if told.intent is None else told.intent.record
    masked = {str(name): count for name, count in outcome["masked"].items() if count}
    if is_refused(intent) if intent else False:
        return []       # the refusal was told with the intent
    request = _request(frame, told, intent, activity, _result(outcome, bool(masked)))
    request["unmapped"] |= {name: outcome[name] for name in ("rows", "sent", "masked", "record")}
    request["duration"] = outcome["duration"] // 1000
    if told.intent is not None:
        request["start_time"] = told.intent.record["time"]
        request["end_time"] = outcome["time"]
        request["unmapped"]["intent"] = {"index": told.intent.index, "hash": told.intent.hash.hex()}
    return [request, _finding(frame, told, intent, masked)] if masked else [request]


def _result(outcome: Mapping[str, Any], is_masked: bool) -> Result:
    status, code = outcome["status"], str(outcome.get("code", ""))
    passed = MODIFIED if is_masked else ALLOWED
    if status == "ok":
        return Result(1, SUCCESS, passed, "allowed")
    if status == "error":
        return Result(1, FAILURE, passed, "allowed", code=code, detail="the backend answered with an error")
    if status == "refused":
        return Result(3, FAILURE, DENIED, "blocked", detail="the gateway stopped the result")
    if status == "cancelled":
        return Result(1, OTHER, passed, "allowed", code=code, status_name="Cancelled")
    return Result(3, UNKNOWN, passed, "allowed", detail=f"unknown: {outcome.get('reason', 'no reason')}; "
                                                        "the backend may have executed it")


def _request(
    frame: Frame, told: Told, intent: Mapping[str, Any], activity: Activity, result: Result
) -> Event:
    verbs = [str(verb) for verb in intent.get("verbs", ())]
    message = f"{_verbs(intent)} on {connection(told)}"
    if activity is Activity.WEB:
        event = _web(frame, told, intent, verbs, result, message)
    elif activity is Activity.TERMINAL:
        event = frame.event(told, 4007, (6, "Traffic"), result, message)
        event["src_endpoint"] = source(told)
    else:
        event = _datastore(frame, told, intent, verbs, result, message)
    event |= {"actor": actor(told), "dst_endpoint": {"svc_name": connection(told)}}
    if intent:
        event["policy"] = {"uid": str(intent["policy"]), "is_applied": True}
        event["unmapped"] |= {"decision": intent["decision"], "rules": list(intent["rules"]), "verbs": verbs,
                              "objects": list(intent["objects"])}
        if "ticket" in intent:
            event["unmapped"]["ticket"] = intent["ticket"]
    return event


def _datastore(
    frame: Frame, told: Told, intent: Mapping[str, Any], verbs: list[str], result: Result, message: str
) -> Event:
    activity = next((found for words, found in _DATASTORE if not set(words).isdisjoint(verbs)), _UNNAMED)
    event = frame.event(told, 6005, activity, result, message)
    event |= {"src_endpoint": source(told), "type_id": 1, "type": "Database",
              "database": {"name": connection(told), "type_id": 1, "type": "Relational"}}
    objects = list(intent.get("objects", ()))
    if objects:
        event["table"] = {"name": str(objects[0])}
    if "text" in told.payload:
        event["query_info"] = {
            "uid": f"{told.leaf.record['sid']}/{(told.intent or told.leaf).record['sseq']}",
            "query_string": told.payload["text"]}
        if told.payload["length"] > len(told.payload["text"]):
            event["metadata"] |= {"is_truncated": True, "untruncated_size": told.payload["length"]}
    return event


def _web(
    frame: Frame, told: Told, intent: Mapping[str, Any], verbs: list[str], result: Result, message: str
) -> Event:
    method = next((verb for verb in verbs if verb in _WEB), "")
    event = frame.event(told, 4002, _WEB.get(method, _UNNAMED), result, message)
    request: Event = {"http_method": method.upper()} if method else {}
    objects = list(intent.get("objects", ()))
    if objects:
        request["url"] = {"path": str(objects[0])}
    event |= {"http_request": request, "src_endpoint": source(told)}
    return event


def _finding(frame: Frame, told: Told, intent: Mapping[str, Any], masked: Mapping[str, int]) -> Event:
    """2006: what was found in a result, per detector or column, and hidden."""
    total = sum(masked.values())
    result = Result(1, SUCCESS, MODIFIED, "logged", status_name="")
    event = frame.event(told, 2006, (1, "Create"), result, f"{total} values were masked on {connection(told)}", second=True)
    event["status_id"], event["status"] = 1, "New"
    event |= {
        "finding_info": {"uid": event["metadata"]["uid"], "title": "Sensitive values were masked in a result",
                         "types": sorted(masked), "created_time": told.leaf.record["time"]},
        "data_security": {
            "data_lifecycle_state_id": 2, "data_lifecycle_state": "Data in-Transit",
            "detection_system_id": 9, "detection_system": "Database Activity Monitoring", "total": total,
            "discovery_details": [{"type": name, "count": masked[name]} for name in sorted(masked)],
        },
        "actor": actor(told), "src_endpoint": source(told), "dst_endpoint": {"svc_name": connection(told)},
        "database": {"name": connection(told), "type_id": 0, "type": "Unknown"}, "is_alert": False,
        "resources": [{"name": str(name)} for name in intent.get("objects", ())] or [{"name": connection(told)}],
    }
    return event


def _verbs(intent: Mapping[str, Any]) -> str:
    return ", ".join(map(str, intent.get("verbs", ()))) or "a request"


def _rules(intent: Mapping[str, Any]) -> str:
    rules = ", ".join(map(str, intent["rules"]))
    return f"rules: {rules}" if rules else "no rule allows it"

"""What every OCSF event of ours has: its class, where it comes from, who acted, and the hash of its leaf.

``raw_data_hash`` is the RFC 6962 leaf hash, SHA-256(0x00 ‖ leaf), of the entry that the event is made from:
with an inclusion proof it leads from a SIEM's row back to the signed log. ``metadata.uid`` is
``<origin>/<index>``; a second event of the same entry adds its class.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.audit.export.told import Told

VERSION: Final = "1.6.0"
Event = dict[str, Any]

CLASSES: Final[Mapping[int, tuple[str, int, str]]] = {
    2006: ("Data Security Finding", 2, "Findings"),
    3002: ("Authentication", 3, "Identity & Access Management"),
    3003: ("Authorize Session", 3, "Identity & Access Management"),
    3004: ("Entity Management", 3, "Identity & Access Management"),
    4002: ("HTTP Activity", 4, "Network Activity"),
    4007: ("SSH Activity", 4, "Network Activity"),
    6002: ("Application Lifecycle", 6, "Application Activity"),
    6003: ("API Activity", 6, "Application Activity"),
    6005: ("Datastore Activity", 6, "Application Activity"),
}
"""Class → its caption, its category and the category's caption."""
_NETWORK: Final = 4     # its classes know an actor by the profile `host` only
SEVERITIES: Final = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
SUCCESS, FAILURE, UNKNOWN, OTHER = 1, 2, 0, 99
_STATUSES: Final = {SUCCESS: "Success", FAILURE: "Failure", UNKNOWN: "Unknown"}
ALLOWED, DENIED, OBSERVED, MODIFIED = (1, "Allowed"), (2, "Denied"), (3, "Observed"), (4, "Modified")
"""Actions of the profile ``security_control``."""
_BLOCKED, _PASSED, _DELAYED, _LOGGED = (2, "Blocked"), (1, "Allowed"), (14, "Delayed"), (17, "Logged")
DISPOSITIONS: Final = {"blocked": _BLOCKED, "allowed": _PASSED, "delayed": _DELAYED, "logged": _LOGGED}


@dataclass(frozen=True, slots=True)
class Result:
    """How it went: severity, status, and what the gateway did about it."""

    severity: int = 1
    status: int = SUCCESS
    action: tuple[int, str] = OBSERVED
    disposition: str = "logged"
    code: str = ""
    detail: str = ""
    status_name: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all events of one log share: its name, the product's version, whether leaves go along."""

    origin: str
    version: str
    raw: bool = False

    def event(
        self, told: Told, class_uid: int, activity: tuple[int, str], result: Result, message: str, *,
        second: bool = False,
    ) -> Event:
        """The part of an event that does not depend on its class."""
        leaf = told.leaf
        name, category, category_name = CLASSES[class_uid]
        metadata: Event = {
            "version": VERSION, "uid": f"{self.origin}/{leaf.index}" + (f"/{class_uid}" if second else ""),
            "sequence": leaf.index, "log_name": self.origin, "log_provider": "lockgate",
            "event_code": leaf.record["type"], "profiles": ["host", "security_control"] if category == _NETWORK else ["security_control"],
            "product": {"name": "Lockgate", "vendor_name": "Lockgate", "version": self.version},
            "loggers": [{"name": "lockgate", "uid": leaf.record["node"]}],
        }
        if "sid" in leaf.record:
            metadata["correlation_uid"] = leaf.record["sid"]
        event: Event = {
            "metadata": metadata, "time": leaf.record["time"],
            "category_uid": category, "category_name": category_name, "class_uid": class_uid, "class_name": name,
            "activity_id": activity[0], "activity_name": activity[1],
            "type_uid": class_uid * 100 + activity[0], "type_name": f"{name}: {activity[1]}",
            "severity_id": result.severity, "severity": SEVERITIES[result.severity],
            "status_id": result.status, "status": result.status_name or _STATUSES[result.status],
            "action_id": result.action[0], "action": result.action[1],
            "disposition_id": DISPOSITIONS[result.disposition][0], "disposition": DISPOSITIONS[result.disposition][1],
            "message": message,
            "raw_data_hash": {"algorithm_id": 3, "algorithm": "SHA-256", "value": leaf.hash.hex()},
            "raw_data_size": len(leaf.text), "unmapped": {"type": leaf.record["type"], "node": leaf.record["node"]},
        }
        if result.code:
            event["status_code"] = result.code
        if result.detail:
            event["status_detail"] = result.detail
        if self.raw:
            event["raw_data"] = leaf.text.decode()
        return event


def user(principal: str, name: str = "", groups: object = ()) -> Event:
    """A person or workload: by the opaque id, and by name where names are exported."""
    found: Event = {"uid": principal, "type_id": 1 if name else 0}
    if name:
        found["name"] = name
    if isinstance(groups, list) and groups:
        found["groups"] = [{"name": str(group)} for group in groups[:64]]
    return found


def session_user(told: Told) -> Event:
    """Whoever the session of this leaf belongs to."""
    principal = "unknown" if told.begin is None else str(told.begin.record["principal"])
    return user(principal, str(told.who.get("subject") or ""), told.who.get("groups"))


def session(told: Told) -> Event:
    """The session of this leaf."""
    found: Event = {"uid": told.leaf.record["sid"], "is_remote": True}
    if told.begin is not None:
        found["created_time"] = told.begin.record["time"]
        token = told.begin.record.get("token")
        if isinstance(token, str) and token:
            found["credential_uid"] = token
    issuer = told.who.get("issuer")
    if isinstance(issuer, str) and issuer:
        found["issuer"] = issuer
    return found


def actor(told: Told) -> Event:
    """The one who acts in a session, and with which agent."""
    found: Event = {"user": session_user(told), "session": session(told)}
    agent = told.who.get("agent")
    if isinstance(agent, str) and agent:
        found["app_name"] = agent
    return found


def source(told: Told) -> Event:
    """Where the client is. Its address is personal and so payload: without names the session stands for it."""
    peer = told.payload.get("peer") or told.who.get("peer")     # a request may come over another connection than the first
    host, _, port = (peer if isinstance(peer, str) else "").rpartition(":")
    try:
        ip = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return {"uid": str(told.leaf.record.get("sid", told.leaf.record["node"]))}
    return {"ip": ip, "port": int(port)} if port.isdigit() and int(port) < 65_536 else {"ip": ip}


def connection(told: Told) -> str:
    """The connection that the session is on."""
    return "unknown" if told.begin is None else str(told.begin.record["connection"])

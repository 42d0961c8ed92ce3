"""What a package was asked for, against what it holds: the range begins and ends where the question does.

A session's package reaches from its beginning to its end; a person's over all of its sessions in the
range; a period's from the time of its first record to that of its last, with the neighbours outside as
proof that nothing of the period is left out; and the whole log's from 0 to the newest entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from lockgate.audit.evidence.failures import EvidenceError


class ScopeCheck:
    """Sees every record once; `require` raises where the range is not the question's."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.first: int = manifest["first"]
        self.last: int = manifest["last"]
        self.size: int = manifest["size"]
        self.scope: Mapping[str, Any] = manifest["scope"]
        self.notes: list[str] = []
        self.ends: list[int] = []
        """Where the sessions that were asked for end."""
        self._asked: dict[str, int] = {}
        self._begins: list[int] = []
        self._principals: set[str] = set()
        self._times: dict[int, int] = {}
        self.newest_time = 0
        """Of the newest record seen, Unix milliseconds."""
        self.rotations: list[tuple[int, str, str]] = []
        """Changes of the log's key: index, old and new verifier key."""

    def take(self, index: int, record: dict[str, Any], is_extra: bool) -> None:
        """One record, in the order of the log."""
        if is_extra or index in (self.first, self.last):
            self._times[index] = record["time"]
        self.newest_time = record["time"]
        kind = record["type"]
        if kind == "key_rotate":
            self.rotations.append((index, str(record["data"].get("old")), str(record["data"].get("new"))))
        if is_extra or "sid" not in record:
            return
        sid = record["sid"]
        if kind == "session_begin" and self._is_asked(sid, record):
            self._asked[sid] = index
            self._begins.append(index)
            self._principals.add(record["principal"])
        if kind == "session_end" and (sid in self._asked or self._is_all):
            self._asked.pop(sid, None)
            self.ends.append(index)

    @property
    def _is_all(self) -> bool:
        return "session" not in self.scope and "principals" not in self.scope

    def _is_asked(self, sid: str, record: dict[str, Any]) -> bool:
        if "session" in self.scope:
            return bool(sid == self.scope["session"])
        asked = self.scope.get("principals")
        return isinstance(asked, list) and record["principal"] in asked

    def require(self) -> None:
        """Raise unless the range is the one that the scope asks for."""
        fields = set(self.scope)
        if fields == {"session"}:
            is_fit = len(self._begins) == 1 and self._reaches()
        elif fields == {"principals"}:
            asked = self.scope["principals"]
            is_fit = isinstance(asked, list) and asked == sorted(self._principals) and self._reaches()
            self.notes.append("that the log holds no other session of these persons is not shown by a package")
        elif fields == {"from", "to"}:
            is_fit = (self.scope["from"], self.scope["to"]) == (self._times[self.first], self._times[self.last]) \
                and (not self.first or self.first - 1 in self._times) \
                and (self.last + 1 == self.size or self.last + 1 in self._times)
        else:
            is_fit = not fields and self.first == 0 and self.last == self.size - 1
        if not is_fit:
            raise EvidenceError("manifest", "the range is not the one that the manifest says was asked for")

    def words(self) -> str:
        """What was asked for, in words: whoever asked has to compare. After `require`."""
        entries = f"entries {self.first} to {self.last}"
        if "session" in self.scope:
            return f"asked for session {self.scope['session']}: {entries}"
        if "principals" in self.scope:
            return f"asked for the sessions of {', '.join(self.scope['principals'])}: {entries}"
        if not self.scope:
            return f"asked for the whole log: {entries}"
        before = f"entry {self.first - 1} is of {_iso_time(self._times[self.first - 1])}" if self.first else "the log begins"
        after = "the log ends" if self.last + 1 == self.size else \
            f"entry {self.last + 1} is of {_iso_time(self._times[self.last + 1])}"
        return (f"asked for {_iso_time(self._times[self.first])} to {_iso_time(self._times[self.last])}: {entries}; before "
                f"them {before}, after them {after}")

    def _reaches(self) -> bool:
        """From the first beginning to the last end, or to the newest entry where a session is open."""
        if not self._begins or self._begins[0] != self.first:
            return False
        return self.last == (self.size - 1 if self._asked else max(self.ends, default=-1))


def _iso_time(milliseconds: int) -> str:
    """Unix milliseconds in ISO 8601; as they are where no calendar reaches."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"

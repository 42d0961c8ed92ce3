"""Which events an entry of the log becomes: none, one, or a second about the same entry.

Pure: an entry with what it refers to in, dictionaries out. Strings are the log's own and may hold anything
that a client chose (names of tables); whoever prints them cleans them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lockgate.audit.evidence.ledger import is_refused
from lockgate.audit.export.told import Told
from lockgate.audit.ocsf import acts, requests
from lockgate.audit.ocsf.envelope import VERSION, Event, Frame
from lockgate.model import Activity, Exported

__all__ = ["VERSION", "Mapper"]

_ACTS: Final[Mapping[str, Callable[[Frame, Told], list[Event]]]] = {
    "session_begin": acts.began, "session_end": acts.ended, "access_denied": acts.access_denied,
    "review_request": acts.reviewed, "review": acts.reviewed,
    "erasure": acts.administered, "erasure_refused": acts.administered, "legal_hold": acts.administered, "key_rotate": acts.administered,
    "node_start": acts.lived, "node_stop": acts.lived, "heartbeat": acts.lived,
}
_SILENT: Final = frozenset({"rec_mark"})


class Mapper:
    """Events of one log. `protocols` says how each protocol's requests are exported; `raw` sends leaves along."""

    def __init__(self, origin: str, version: str, protocols: Mapping[str, Exported], *, raw: bool = False) -> None:
        self._frame = Frame(origin, version, raw)
        self._protocols = protocols

    def events(self, told: Told) -> list[Event]:
        """The OCSF events of one entry, in order."""
        kind = told.leaf.record["type"]
        if kind in _SILENT:
            return []
        if kind == "intent":
            return requests.refused(self._frame, told, self._activity(told)) if is_refused(told.leaf.record) else []
        if kind == "outcome":
            return requests.settled(self._frame, told, self._activity(told))
        return _ACTS.get(kind, acts.called)(self._frame, told)

    def _activity(self, told: Told) -> Activity:
        name = "" if told.begin is None else str(told.begin.record["protocol"])
        return self._protocols.get(name, Exported()).activity

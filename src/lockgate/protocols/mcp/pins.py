"""Definitions of tools are pinned: what a model was once shown of a tool is what it goes on calling.

A server may change a tool's description behind an agent's back and tell the model other things than those that somebody
has looked at (a "rug pull"). The first whole list of a connection is trusted and put on record; what is new or changed
after it is hidden and refused until a person accepts it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lockgate.model import Definition, Refusal, RefusalCode
from lockgate.wire.spec import Definitions

_LONGEST: Final = 65_536
WHOLE: Final = ""
"""The name of the entry that says that a connection's list has been seen as a whole."""


def digest_of(definition: object) -> str:
    """The hex SHA-256 of a definition: its members in the order of their names, without space (like RFC 8785)."""
    exact = json.dumps(definition, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(exact.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(slots=True)
class Pins:
    """The pins of one connection. `fixed` are digests of the configuration: with them nothing else is accepted.
    `notes` are events for the record."""

    connection: str
    store: Definitions
    is_on: bool = True
    fixed: Mapping[str, str] | None = None
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def refusal(self, tool: str) -> Refusal | None:
        """Why this tool may not be called, None where it may."""
        if not self.is_on:
            return None
        found = self.store.of(self.connection).get(tool)
        if found is None:
            return _UNSEEN
        return None if self._accepted(found) == found.seen else _CHANGED

    def _accepted(self, found: Definition) -> str:
        return found.accepted if self.fixed is None else self.fixed.get(found.name, "")

    def shows(self, tool: str, definition: object) -> bool:
        """Whether a definition that the server lists is shown. Remembers it."""
        if not self.is_on:
            return True
        digest = digest_of(definition)
        known = self.store.of(self.connection)
        found = known.get(tool)
        if found is None:
            is_first = self.fixed is None and WHOLE not in known
            found = Definition(tool, digest if is_first else "", "", "", "")
        if found.seen != digest:
            text = json.dumps(definition, ensure_ascii=False, indent=2, sort_keys=True)[:_LONGEST]
            is_accepted = self._accepted(found) == digest
            self._note("tool_pinned" if is_accepted and not found.seen else "tool_changed", tool, digest, found)
            found = replace(found, seen=digest, seen_text=text, accepted_text=text if is_accepted else found.accepted_text)
            self.store.put(self.connection, found)
        return self._accepted(found) == digest

    def seen_whole(self) -> None:
        """The last page of a list has been seen: from now on what is new needs a person."""
        if self.is_on and self.fixed is None and WHOLE not in self.store.of(self.connection):
            self.store.put(self.connection, Definition(WHOLE, "", "", "", ""))

    def _note(self, event: str, tool: str, digest: str, before: Definition) -> None:
        self.notes.append((event, {
            "connection": self.connection, "tool": tool[:200], "digest": digest, "accepted": self._accepted(before)}))


_UNSEEN: Final = Refusal(
    RefusalCode.DENIED, "the definition of this tool has not been seen, so nobody knows what it is",
    hint="Ask for tools/list first. A tool that is not listed cannot be called.")
_CHANGED: Final = Refusal(
    RefusalCode.DENIED, "the definition of this tool is new or has changed, and nobody has accepted it yet",
    hint="Do the task without this tool, or ask those who run the gateway to look at the tool's definition and accept it "
         "(`lockgate tools accept`).")

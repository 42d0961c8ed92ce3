"""What a session did before that may change what its next statement means, for reviewers and tickets.

Apart from `analysis.sql.SessionNames`, which knows what names stand for as far as masks go: here are the
words that an approval is bound to. An approved ``DELETE FROM notes`` is good for another session only if
that one has the same search path, the same temporary relations of that name and has run the same code
of unknown effect. A session that did nothing of it has no surroundings, so that retries match.

What was said counts from the moment it is forwarded, and in its order. What an error or a ROLLBACK may have
taken back stays, with a mark: too much here asks a person again, too little would ask nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from lockgate.analysis.sql import SessionNames, Statement

MEANING: Final = frozenset({
    "all", "search_path", "row_security", "transform_null_equals", "datestyle", "intervalstyle", "timezone",
})
"""Session parameters under which the same text means something else; "all" is RESET ALL and DISCARD ALL."""
_AT_START: Final = frozenset({"search_path", "row_security"})
_LINES: Final = 24
_KNOWN: Final = 256
_SHOWN: Final = 200


def matters(statement: Statement) -> bool:
    """True if what is sent behind it must wait until it is carried out."""
    return statement.is_opaque or not MEANING.isdisjoint(statement.sets)


class Surroundings:
    """Of one session. Bounded: beyond `_LINES` lines a digest of all of them stands for the rest."""

    __slots__ = ("_digest", "_has_moved", "_known", "_lines", "_temporary")

    def __init__(self, start_up: Mapping[str, str]) -> None:
        self._lines: list[str] = []
        self._digest = b""
        self._known: set[bytes] = set()
        self._temporary: dict[str, tuple[str, ...]] = {}
        self._has_moved = False                 # something was added that an error could still take back
        for name in sorted(start_up, key=str.lower):
            if name.lower() in _AT_START:
                self._add(f"start-up: {name.lower()} = {start_up[name]}")

    def note(self, statement: Statement, names: SessionNames) -> None:
        """It is about to be forwarded."""
        for name in statement.executes:
            for prepared, _ in names.prepared(name):
                if not prepared.executes:
                    self.note(prepared, names)
        if not MEANING.isdisjoint(statement.sets):
            self._add(f"set: {statement.text}")
        elif statement.is_opaque:
            self._add(f"code of unknown effect: {statement.text}", once=True)
        reading = statement.reading
        temporary = [] if reading is None else [
            name for index, (schema, name) in enumerate(reading.created)
            if index in reading.temporary or (schema or "").startswith("pg_temp")]
        for name in temporary:
            self._name(name, f"temporary: {statement.text}")
        if not temporary and self._temporary and statement.changes_catalogue:
            self._add(f"definition: {statement.text}", once=True)       # may rename a temporary relation
        if not {"rollback", "rollback_to"}.isdisjoint(statement.transaction):
            self.failed()

    def failed(self) -> None:
        """An error or a ROLLBACK may have taken back what was added since the last transaction ended."""
        if self._has_moved:
            self._has_moved = False
            self._add("some of it may have been taken back by an error or a ROLLBACK", once=True)
            self._has_moved = False

    def settled(self) -> None:
        """A transaction ended and nothing is under way."""
        self._has_moved = False

    def of(self, statement: Statement | None) -> tuple[str, ...]:
        """The lines for a statement."""
        if not self._lines and not self._temporary:
            return ()
        lines = list(self._lines)
        if len(self._lines) >= _LINES:
            lines.append(f"and more, SHA-256 {self._digest.hex()}")
        if self._temporary:
            named = "\n".join(f".{name}" for name in ([] if statement is None else _relations(statement))) + "\n"
            lines += [line for name, made in sorted(self._temporary.items())
                      if statement is None or f".{name}\n" in named for line in made]
        return tuple(lines)

    def _add(self, line: str, *, once: bool = False) -> None:
        digest = hashlib.sha256(line.encode()).digest()
        if once:
            if digest in self._known:
                return
            if len(self._known) < _KNOWN:
                self._known.add(digest)
        self._has_moved = True
        if self._lines and self._lines[-1] == _cut(line, digest):
            return
        self._digest = hashlib.sha256(self._digest + digest).digest()
        if len(self._lines) < _LINES:
            self._lines.append(_cut(line, digest))

    def _name(self, name: str, line: str) -> None:
        """A temporary relation: what its name was made by, in order."""
        self._has_moved = True
        cut = _cut(line, hashlib.sha256(line.encode()).digest())
        before = self._temporary.get(name, ())
        if cut in before:
            return
        if len(self._temporary) >= _KNOWN or len(before) >= _LINES:
            self._add(line)                     # for every statement then, not only for those that name it
        else:
            self._temporary[name] = (*before, cut)


def _cut(line: str, digest: bytes) -> str:
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}… SHA-256 {digest.hex()}"


def _relations(statement: Statement) -> list[object]:
    found = statement.facts.get("relations")
    return list(found) if isinstance(found, list | tuple) else []

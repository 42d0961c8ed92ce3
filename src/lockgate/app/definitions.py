"""Definitions of tools that wait for a person: what is pinned, what a backend says now, and the person's yes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lockgate.errors import AuditError, LockgateError
from lockgate.model import Definition, Event, Identity
from lockgate.wire.spec import Definitions

if TYPE_CHECKING:
    from lockgate.govern.ports import Recorder


class NotAccepted(LockgateError):
    """Nothing was accepted; says why. `code`: `definition.unknown`, `.changed` (it is another one by now), `.unrecorded`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Accepting:
    """The gateway's definitions, for people."""

    def __init__(self, store: Definitions, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder

    def listed(self, connection: str) -> Sequence[Mapping[str, Any]]:
        """Every tool of a connection, by name."""
        return [shown(one) for name, one in sorted(self._store.of(connection).items()) if name]

    def accept(
        self, identity: Identity, connection: str, name: str, digest: str,
        done: Callable[[Mapping[str, Any] | NotAccepted], None],
    ) -> None:
        """Accept the definition with this digest; it is shown and callable once that is durably on record."""
        found = self._store.of(connection).get(name) if name else None
        if found is None:
            done(NotAccepted("definition.unknown", "the gateway has seen no such tool on this connection"))
            return
        if found.seen != digest:
            done(NotAccepted("definition.changed", "the tool's definition is another one by now; look at it again"))
            return

        def recorded(error: AuditError | None) -> None:
            if error is not None:
                done(NotAccepted("definition.unrecorded", "the acceptance could not be put on record, so it does not count"))
                return
            now = self._store.of(connection)[name]      # it may have changed meanwhile: then it waits again
            if now.seen == digest:
                now = replace(now, accepted=digest, accepted_text=now.seen_text)
                self._store.put(connection, now)
            done(shown(now))

        who = json.dumps({"by": [identity.issuer, identity.subject], "definition": found.seen_text}).encode()
        try:
            self._recorder.event(Event(
                "tool_accepted", {"connection": connection, "tool": name, "digest": digest, "accepted": found.accepted},
                None, who), recorded)
        except AuditError as error:
            recorded(error)


def shown(one: Definition) -> dict[str, Any]:
    """A definition as people see it."""
    state = "accepted" if one.accepted == one.seen else "changed" if one.accepted else "new"
    return {"tool": one.name, "state": state, "digest": one.seen, "accepted": one.accepted,
            "definition": one.seen_text, "accepted_definition": one.accepted_text}

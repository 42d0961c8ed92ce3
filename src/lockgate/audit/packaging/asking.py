"""What a package is asked for, and which entries of the log that makes: the range, and whose payloads.

`--session` is one session from its beginning to its end; `--subject` all sessions of a person or workload, with
`--issuer` where several issuers know the name; `--from` and `--to` a period; none of them the whole log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from lockgate.audit import leaves
from lockgate.audit.commitment import KEY_SIZE, unseal
from lockgate.audit.failures import Undisclosed
from lockgate.audit.packaging.reading import (
    damaged,
    first_at,
    kept_of,
    leaves_of,
    record_of,
    text_in,
    time_of,
)
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

_BEGIN: Final = b'"type":"session_begin"'


@dataclass(frozen=True, slots=True)
class Asked:
    """The question. Times are Unix milliseconds. `withhold` are ranges of entries whose payloads stay here."""

    session: str | None = None
    subject: str | None = None
    issuer: str | None = None
    start: int | None = None
    end: int | None = None
    payloads: bool = True
    withhold: tuple[tuple[int, int], ...] = ()
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The range of entries, the manifest's words for the question, and whose payloads are disclosed: the
    sessions by id, or everything (None).
    """

    first: int
    last: int
    scope: dict[str, Any]
    sessions: frozenset[str] | None


def resolve(source: Source, asked: Asked) -> Answer:
    """The entries that the question is about, as far as they are signed. Raises `AuditError` where there are none."""
    size = source.head().signed
    if size == 0:
        raise AuditError("the log is empty")
    if asked.session is not None:
        first, last, sid = source.session(asked.session)
        if first >= size:
            raise AuditError(f"session {sid} is not signed yet", advice="try again in a moment")
        last = None if last is not None and last >= size else last
        return Answer(first, size - 1 if last is None else last, {"session": sid}, frozenset({sid}))
    if asked.subject is not None:
        return _of_subject(source, asked.subject, asked.issuer, size)
    if asked.start is None and asked.end is None:
        return Answer(0, size - 1, {}, None)
    first = 0 if asked.start is None else first_at(source, asked.start, size)
    last = size - 1 if asked.end is None else first_at(source, asked.end + 1, size) - 1
    if first > last:
        raise AuditError("the log has no entry between these times")
    return Answer(first, last, {"from": time_of(source, first), "to": time_of(source, last)}, None)


def _of_subject(source: Source, subject: str, issuer: str | None, size: int) -> Answer:
    """Every session of the subject, by its principal: so those as well whose payloads were erased.

    Raises `AuditError` where several issuers know a subject of this name, who are several persons.
    """
    begun: dict[str, str] = {}
    issuers: set[str] = set() if issuer is None else {issuer}
    for index, _, leaf in leaves_of(source, 0, size - 1, (_BEGIN,)):
        record = record_of(index, leaf)
        if record.get("type") != "session_begin":
            continue
        sid, principal = text_in(record, "sid"), text_in(record, "principal")
        if sid is None or principal is None:
            raise damaged(f"entry {index} is no beginning of a session")
        begun[sid] = principal
        known = None if issuer is not None else text_in(_payload(source, index), "issuer")
        if known is not None:
            issuers.add(known)
    there = set(begun.values())
    people = {one: who for one in issuers if (who := leaves.principal(source.pseudonyms, one, subject)) in there}
    if len(people) > 1:
        raise AuditError(f"several issuers know a {subject!r}: {', '.join(sorted(people))}", advice="say which one with --issuer")
    found = frozenset(sid for sid, principal in begun.items() if principal in people.values())
    if not found:
        raise AuditError(f"no session of {subject!r}{'' if issuer is None else f' of {issuer}'} is on the log",
                         advice="`lockgate session list` names subjects, `lockgate session show` the issuer of one")
    ranges = [(first, last) for sid, first, last in source.sessions() if sid in found]
    last = max(size - 1 if end is None or end >= size else end for _, end in ranges)
    return Answer(min(first for first, _ in ranges), last, {"principals": sorted(people.values())}, found)


def _payload(source: Source, index: int) -> dict[str, Any]:
    """What an entry committed to, or nothing where it was erased or is damaged."""
    kept = kept_of(source, index)
    if kept is None:
        return {}
    secret, sealed = kept
    try:
        content = orjson.loads(unseal(secret[:KEY_SIZE], sealed))
    except (Undisclosed, orjson.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}

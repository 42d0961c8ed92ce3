"""What a package is asked for, and which entries of the log that makes: the range, and whose payloads.

`--session` is one session from its beginning to its end; `--subject` all sessions of a person or
workload, whoever issued its identity; `--from` and `--to` a period; none of them the whole log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from lockgate.audit import leaves
from lockgate.audit.commitment import KEY_SIZE, unseal
from lockgate.audit.failures import Undisclosed
from lockgate.audit.packaging.reading import damaged, kept_of, leaves_of, record_of, text_in
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

_BEGIN: Final = b'"type":"session_begin"'


@dataclass(frozen=True, slots=True)
class Asked:
    """The question. Times are Unix milliseconds. `withhold` are ranges of entries whose payloads stay here."""

    session: str | None = None
    subject: str | None = None
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
        return _of_subject(source, asked.subject, size)
    if asked.start is None and asked.end is None:
        return Answer(0, size - 1, {}, None)
    first = 0 if asked.start is None else _first_at(source, asked.start, size)
    last = size - 1 if asked.end is None else _first_at(source, asked.end + 1, size) - 1
    if first > last:
        raise AuditError("the log has no entry between these times")
    return Answer(first, last, {"from": _time(source, first), "to": _time(source, last)}, None)


def _of_subject(source: Source, subject: str, size: int) -> Answer:
    """Every session of the subject: found by name where its payload is there, by principal where it was erased."""
    begun: dict[str, str] = {}
    principals, issuers = set(), set()
    for index, _, leaf in leaves_of(source, 0, size - 1, (_BEGIN,)):
        record = record_of(index, leaf)
        if record.get("type") != "session_begin":
            continue
        sid, principal = text_in(record, "sid"), text_in(record, "principal")
        if sid is None or principal is None:
            raise damaged(f"entry {index} is no beginning of a session")
        begun[sid] = principal
        who = _payload(source, index)
        issuers.add(text_in(who, "issuer"))
        if who.get("subject") == subject:
            principals.add(principal)
    principals |= {leaves.principal(source.pseudonyms, issuer, subject) for issuer in issuers if issuer is not None}
    principals &= set(begun.values())
    found = frozenset(sid for sid, principal in begun.items() if principal in principals)
    if not found:
        raise AuditError(f"no session of {subject!r} is on the log", advice="`lockgate session list` names subjects")
    ranges = [(first, last) for sid, first, last in source.sessions() if sid in found]
    last = max(size - 1 if end is None or end >= size else end for _, end in ranges)
    return Answer(min(first for first, _ in ranges), last, {"principals": sorted(principals)}, found)


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


def _time(source: Source, index: int) -> int:
    for _, _, leaf in leaves_of(source, index, index):
        time = record_of(index, leaf).get("time")
        if type(time) is not int:
            raise damaged(f"entry {index} has no time")
        return time
    raise damaged(f"entry {index} is missing")


def _first_at(source: Source, time: int, size: int) -> int:
    """The first entry that is not older than `time`; `size` where there is none. Times do not run backwards."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if _time(source, middle) < time:
            low = middle + 1
        else:
            high = middle
    return low

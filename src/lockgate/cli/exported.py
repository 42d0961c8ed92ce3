"""A recording in formats of others: asciicast v2, JSON lines, SQL to read, and what its protocol has besides.

Source: asciinema's "asciicast v2" (docs.asciinema.org/manual/asciicast/v2): a header line, then ``[time, code, data]``,
where the code is ``o`` for output, ``i`` for input and ``r`` for a size as ``COLUMNSxROWS``.
"""

from __future__ import annotations

import base64
import codecs
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from lockgate.audit.recording.events import INPUT, OUTPUT, WINDOW
from lockgate.cli.played import Script, clock
from lockgate.cli.shown import clean, one_line
from lockgate.errors import AuditError

_COLUMNS: Final = 120
_ROWS: Final = 30
_TAB_OF_COMMENT: Final = "-- "


def asciicast(script: Script) -> Iterator[str]:
    """A terminal's recording as it is; one of statements as it is replayed."""
    header = script.playback.header
    events = script.playback.events() if script.is_terminal else iter(())
    size = next((event for event in events if event.kind == WINDOW), None)
    columns, rows = (_COLUMNS, _ROWS) if size is None else (int(size.fields["columns"]), int(size.fields["rows"]))
    yield json.dumps({
        "version": 2, "width": columns, "height": rows, "timestamp": header.begun // 1000,
        "title": f"{header.protocol} session {header.sid}",
    })
    if not script.is_terminal:
        for moment in script.moments():
            yield json.dumps([round(moment.at, 6), "o", moment.text.replace("\n", "\r\n")])
        return
    decoders = {kind: codecs.getincrementaldecoder("utf-8")("replace") for kind in (INPUT, OUTPUT)}
    for event in script.playback.events():
        if event.kind in decoders:
            text = decoders[event.kind].decode(event.data)
            if text:
                yield json.dumps([round(event.at, 6), event.kind, text])
        elif event.kind == WINDOW:
            yield json.dumps([round(event.at, 6), "r", f"{event.fields['columns']}x{event.fields['rows']}"])


def json_lines(script: Script) -> Iterator[str]:
    """One object a line: the header, then what was shown, or a terminal's events with their bytes in base64."""
    header = script.playback.header
    yield json.dumps({"v": 1, "kind": header.kind, "protocol": header.protocol, "session": header.sid,
                      "stream": header.stream, "begun": header.begun})
    if not script.is_terminal:
        for shown in script.shown():
            yield json.dumps({"t": round(shown.at, 6), "kind": shown.kind, **shown.fields})
        return
    for event in script.playback.events():
        line: dict[str, Any] = {"t": round(event.at, 6), "kind": event.kind, **event.fields}
        if event.kind in (INPUT, OUTPUT):
            line["data"] = base64.b64encode(event.data).decode()
        yield json.dumps(line)


def sql_text(script: Script) -> Iterator[str]:
    """The statements in order, to be read: parameters and outcomes as comments, and what failed, or has no outcome, as a
    comment as a whole, so that no open quote of it reaches into the next statement."""
    header = script.playback.header
    yield f"-- session {one_line(header.sid)}, {one_line(header.protocol)}, for reading: what it did, not what to run"
    waiting: deque[Mapping[str, Any]] = deque()
    times: dict[int, float] = {}
    outcomes: dict[int, str] = {}
    for shown in script.shown():
        fields = shown.fields
        if shown.kind == "statement":
            waiting.append(fields)
            times[fields["number"]] = shown.at
        elif shown.kind in ("done", "error") and fields.get("of") in times:
            failed = shown.kind == "error"
            said = f"ERROR {fields.get('code', '')}: {fields.get('message', '')}" if failed else f"→ {fields['tag']}"
            before = outcomes.get(fields["of"])
            outcomes[fields["of"]] = said if before is None or failed else before + ", " + fields["tag"]
        while waiting and len(waiting) > 1 and waiting[0]["number"] in outcomes:
            yield from _written(waiting.popleft(), times, outcomes)
    while waiting:
        yield from _written(waiting.popleft(), times, outcomes)
    if script.playback.rest:
        yield "-- the recording ends inside of a chunk"


def _written(fields: Mapping[str, Any], times: dict[int, float], outcomes: dict[int, str]) -> Iterator[str]:
    number = fields["number"]
    outcome = outcomes.pop(number, "no outcome is recorded")
    yield ""
    yield f"-- [{clock(times.pop(number))}] statement {number}"
    for place, value in enumerate(fields["parameters"], 1):
        yield f"-- ${place} = {'NULL' if value is None else one_line(repr(value))}"
    lines = clean(fields["text"]).split("\n")
    if outcome.startswith("→"):
        yield from lines
        yield ";"
    else:
        yield from (_TAB_OF_COMMENT + line for line in lines)
    yield _TAB_OF_COMMENT + one_line(outcome)


class Format(StrEnum):
    """What `--format` may name."""

    ASCIICAST = "asciicast"
    HAR = "har"
    JSONL = "jsonl"
    SQL = "sql"


FORMATS: Final[dict[Format, Callable[[Script], Iterator[str]]]] = {
    Format.ASCIICAST: asciicast, Format.JSONL: json_lines, Format.SQL: sql_text,
}


def exported(form: Format, script: Script) -> Iterator[str]:
    """The recording's lines in a format. `AuditError` for one that says nothing of what was recorded."""
    own, header = script.formats.get(form.value), script.playback.header
    if own is not None:
        return own(header, script.shown())
    if form is Format.SQL and header.kind != "sql":
        raise AuditError(f"a recording of {header.protocol} holds no statements", advice=_others(script))
    if form is Format.HAR:
        raise AuditError(f"a recording of {header.protocol} holds no requests that this format has a place for",
                         advice=_others(script))
    return FORMATS[form](script)


def _others(script: Script) -> str:
    known = {Format.ASCIICAST.value, Format.JSONL.value, *script.formats}
    return f"write --format {' or '.join(sorted(known))}"


def write_lines(lines: Iterator[str], out: Path) -> None:
    """Into a new file that only its owner reads, whole or not at all; to standard output where `out` is ``-``."""
    if str(out) == "-":
        for line in lines:
            sys.stdout.write(line + "\n")
        return
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AuditError(f"{out}: {error.strerror}", advice="give a file that does not exist yet") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    except AuditError:
        out.unlink(missing_ok=True)
        raise
    except OSError as error:
        out.unlink(missing_ok=True)
        raise AuditError(f"{out}: {error.strerror}") from None

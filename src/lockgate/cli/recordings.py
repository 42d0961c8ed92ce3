"""From what was asked for, a session or a file, to a recording that can be played; and how much of one there is, in words."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockgate.audit.admin import recorded
from lockgate.audit.evidence.recordings import RecordedStreams
from lockgate.audit.packaging.pages import PackagePages
from lockgate.audit.reader import Reader, SessionView
from lockgate.audit.recording.playback import Playback, Stream
from lockgate.audit.recording.sealing import Opener
from lockgate.audit.recording.shelf import FOLDER, shelf_of
from lockgate.cli.played import Script, plain, searchable
from lockgate.cli.player import Player, on_terminal
from lockgate.config.duration import seconds
from lockgate.errors import AuditError, ConfigError
from lockgate.model import Event
from lockgate.protocols import discover


def open_script(wanted: str, folder: Path, identity: Path, stream: str) -> Script | None:
    """The recording of a session of the log in `folder`, or in a file; None where the session has none.

    Raises `AuditError` where there is no such session or stream, or the identity does not open it.
    """
    opener = Opener.of_file(identity)
    path = Path(wanted)
    if not path.is_file():
        with Reader(folder) as reader:
            sid = reader.session(wanted).sid
        with shelf_of(folder) as shelf:
            found = shelf.streams(sid)
        if not found:
            return None
        if stream not in found:
            raise AuditError(f"the session has no recorded stream {stream}", advice=f"it has {', '.join(found)}")
        return _script_of(Stream(folder, sid, stream), opener)
    return _script_of(path, opener)


def packed_script(pages: PackagePages, wanted: str, folder: Path, identity: Path, stream: str) -> Script | None:
    """As `open_script`, of a package that was verified: its recording is put into `folder`, as it is encrypted."""
    opener = Opener.of_file(identity)
    _, _, sid = pages.session(wanted)
    found = pages.streams(sid)
    if not found and pages.is_recording_withheld(sid):
        raise AuditError("the package withholds the recording of this session")
    if not found:
        return None
    if stream not in found:
        raise AuditError(f"the package has no recorded stream {stream} of it", advice=f"it has {', '.join(found)}")
    return _script_of(pages.extract(found[stream], folder), opener)


def _script_of(path: Path | Stream, opener: Opener) -> Script:
    playback = Playback(path, opener)
    spec = discover().get(playback.header.protocol)
    if playback.header.kind == "terminal":
        return Script(playback, None)
    if spec is None or spec.recording is None or spec.recording.decoder is None:
        raise AuditError(f"the recording is of {playback.header.protocol}, which this version cannot read")
    return Script(playback, spec.recording.decoder)


def note_view(folder: Path, script: Script, purpose: str) -> None:
    """Put on record that somebody is about to see a recording (`recording_view`); without that there is no view.

    Of a recording in the folder of the log only: a copy elsewhere, as in an evidence package, has no log to be noted in.
    """
    path = script.playback.path
    if isinstance(path, Path) and (folder / FOLDER).resolve() not in path.resolve().parents:
        return
    header = script.playback.header
    with recorded(folder) as log:
        log.append(Event("recording_view", {"session": header.sid, "stream": header.stream, "purpose": purpose}))


def play(script: Script, *, speed: float, at: float, search: str) -> None:
    """In a terminal: a player. Otherwise: all of it, or from `at`, or what holds the text to search for."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        with on_terminal(is_picture=script.is_terminal) as screen:
            Player(script, screen, speed=speed).run(at, search)
        return
    wanted = searchable(search)
    for moment in script.moments():
        if moment.at < at:
            continue
        text = plain(moment.text) if script.is_terminal else moment.text
        if not wanted or wanted in searchable(moment.text):
            sys.stdout.write(text)
    if script.playback.rest:
        sys.stdout.write("\nthe recording ends inside of a chunk: it was cut\n")


def moment_of(text: str) -> float:
    """`--at`: ``90s``, ``5m``, or ``1:30``. Raises `ConfigError`."""
    minutes, colon, rest = text.rpartition(":")
    if not colon:
        return seconds(text)
    try:
        return int(minutes) * 60 + float(rest)
    except ValueError:
        raise ConfigError(f"`{text}` is no time; write 90s, 5m or 1:30") from None


def coverage_of(view: SessionView) -> Mapping[str, Any] | None:
    """What is recorded of a session: as its end says, or, while it is open, as its last marks do; None: nothing is.
    Of an erased recording the same, with the state ``erased``.
    """
    if view.end is not None:
        found = view.end.get("coverage")
        if not isinstance(found, dict) or view.erased_by is None:
            return found if isinstance(found, dict) else None
        return {**found, "state": "erased", "reason": f"by record {view.erased_by}"}
    if not view.marks:
        return None
    streams = RecordedStreams()
    streams.marks.update(view.marks)
    return {**streams.coverage(), "state": "open", "reason": ""}


def coverage_words(coverage: Mapping[str, Any]) -> str:
    """For people."""
    reason = f": {coverage['reason']}" if coverage["reason"] else ""
    streams = "1 stream" if coverage["streams"] == 1 else f"{coverage['streams']} streams"
    return f"{coverage['state']}{reason} ({streams}, {coverage['chunks']} chunks, {coverage['bytes']} bytes)"


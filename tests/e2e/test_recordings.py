"""Recordings of real clients' sessions through a real gateway: what they hold, what they must not, and how they end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pyrage
import pytest
from typer.testing import CliRunner

from lockgate.app import load_configuration
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.reader import Reader
from lockgate.audit.recording.coverage import chunks_of
from lockgate.audit.recording.playback import Playback, streams_of
from lockgate.audit.recording.sealing import Opener
from lockgate.audit.recording.shown import Shown
from lockgate.audit.verify import verify_log
from lockgate.cli.main import assemble
from lockgate.errors import ConfigError
from lockgate.protocols.postgres.recorded import SqlDecoder
from testbed.gateway import Gateway, Issuer, command, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES

IDENTITY = pyrage.x25519.Identity.generate()
RECORDING = f", recording: {{{{recipients: [{IDENTITY.to_public()}]}}}}"
RULES = """\
  - {{name: recorded, connections: [crm], record: true}}
"""
CANARIES = ("219-09-9999", "219-09-9998", "ann@example.com", "bob@example.com", "4111 1111 1111 1111", PASSWORD)


def config(recording: str = RECORDING, rules: str = RULES) -> str:
    return HEAD.replace("/log}}", "/log" + recording + "}}") + POLICIES + rules


@pytest.fixture(scope="module")
def recorded(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that records the sessions of `crm`."""
    folder = tmp_path_factory.mktemp("recorded")
    with gateway(folder, config(), env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as running:
        yield running


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The auditor's key file."""
    path = tmp_path_factory.mktemp("auditor") / "identity.txt"
    path.write_text(f"# public key: {IDENTITY.to_public()}\n{IDENTITY}\n")
    return path


class Seen:
    """A session as its recording tells it."""

    def __init__(self, front: Gateway, sid: str) -> None:
        self.sid = sid
        self.raw = b""
        self.all: list[Shown] = []
        decoder = SqlDecoder()
        for event in Playback(streams_of(front.state / "audit", sid)["client"], Opener([IDENTITY])).events():
            self.raw += event.data
            self.all += decoder.take(event)

    def of(self, kind: str, name: str) -> list[Any]:
        return [shown.fields[name] for shown in self.all if shown.kind == kind]

    @property
    def rows(self) -> list[list[str | None]]:
        return self.of("row", "values")


def end_of(front: Gateway, sid: str) -> dict[str, Any] | None:
    with Reader(front.state / "audit") as reader:
        return reader.session(sid).end


def wait_for(condition: Callable[[], Any]) -> Any:
    """Until something on the disk is so."""
    deadline, pause = time.monotonic() + 20, threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come"
        pause.wait(0.05)
    return found


def session_of(front: Gateway, act: Callable[[], object]) -> Seen:
    """What is recorded of the session in which `act` runs, once it is over."""
    before = {path.name for path in (front.state / "audit" / "recordings").glob("*")}
    act()
    (sid,) = wait_for(lambda: {path.name for path in (front.state / "audit" / "recordings").glob("*")} - before)
    end = wait_for(lambda: end_of(front, sid))
    assert end["coverage"]["state"] == "whole", end
    return Seen(front, sid)


# ---------------------------------------------------------------- what is in it


def test_a_session_of_psycopg_is_recorded_as_the_client_saw_it(recorded: Gateway, agent: str) -> None:
    """Every path of the protocol: what the client got is what the recording shows, and nothing that a mask hides."""
    got: dict[str, Any] = {}

    def act() -> None:
        with psycopg.connect(recorded.dsn(agent), autocommit=True) as db:
            db.execute("CREATE TEMP TABLE scratch (id int, note text)")
            got["simple"] = db.execute("SELECT id, name, ssn FROM customers ORDER BY id", prepare=False).fetchall()
            got["parameters"] = db.execute("SELECT id, email FROM customers WHERE id = %s", (2,)).fetchall()
            got["binary"] = db.cursor(binary=True).execute(
                "SELECT id, price, raw, ok, id2, at FROM plain WHERE id <= %s ORDER BY id", (3,)).fetchall()
            for number in range(1, 4):
                got[f"prepared {number}"] = db.execute(
                    "SELECT word FROM plain WHERE id = %s", (number,), prepare=True).fetchall()
            with db.cursor().copy("COPY scratch FROM STDIN") as copy:
                copy.write_row((7, "copied in"))
                copy.write_row((8, None))
            with db.cursor().copy("COPY (SELECT id, ssn FROM customers ORDER BY id) TO STDOUT") as copy:
                got["copy"] = b"".join(copy)
            with pytest.raises(psycopg.errors.DivisionByZero):
                db.execute("SELECT 1 / 0")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute("DROP TABLE customers")
            with db.transaction(), db.cursor(name="few") as cursor:
                cursor.execute("SELECT word FROM plain ORDER BY id")
                got["cursor"] = cursor.fetchmany(2) + cursor.fetchmany(3)
            with db.pipeline():
                first, second = db.execute("SELECT 1 AS one"), db.execute("SELECT 2 AS two")
                got["pipeline"] = first.fetchall() + second.fetchall()
            db.execute("DO $$ BEGIN RAISE NOTICE 'a notice of % words', 4; END $$")
            db.execute("LISTEN news")
            db.execute("NOTIFY news, 'it rains'")
            got["news"] = [(found.channel, found.payload) for found in db.notifies(timeout=5, stop_after=1)]
            got["null"] = db.execute("SELECT NULL::int, ''").fetchall()

    seen = session_of(recorded, act)
    rows = seen.rows

    def texts(name: str) -> list[list[str | None]]:
        return [[None if value is None else str(value) for value in row] for row in got[name]]

    assert texts("simple") == [row for row in rows if row[1:2] in (["ann"], ["bob"])]
    assert texts("parameters")[0] in rows
    assert [[str(row[0]), str(row[1]), "\\x" + row[2].hex(), str(row[3]).lower(), str(row[4])] for row in got["binary"]] == [
        row[:5] for row in rows if len(row) == 6]
    for number in range(1, 4):
        assert [f"word {number}"] in rows
    assert [row for row in rows if row == ["1"] or row == ["2"]] == texts("pipeline")
    assert [None, ""] in rows
    assert "".join(text for text in seen.of("copy_out", "text")) == got["copy"].decode()
    assert "".join(seen.of("copy_in", "text")) == "7\tcopied in\n8\t\\N\n"
    assert texts("cursor") == [row for row in rows if row[0] in {f"word {n}" for n in range(1, 6)}][-5:]
    statements = {shown.fields["text"]: shown.fields["parameters"] for shown in seen.all if shown.kind == "statement"}
    assert statements["SELECT word FROM plain WHERE id = $1"] == ["3"]
    assert statements["SELECT id, email FROM customers WHERE id = $1"] == ["2"]
    assert {"22012", "42501"} <= set(seen.of("error", "code"))
    assert "a notice of 4 words" in seen.of("notice", "message")
    assert got["news"] == list(zip(seen.of("notification", "channel"), seen.of("notification", "payload"), strict=True))
    assert not [shown for shown in seen.all if shown.kind == "unreadable"]
    for canary in CANARIES:
        assert canary.encode() not in seen.raw
    assert agent.encode() not in seen.raw


def test_a_cancelled_statement_and_a_client_that_leaves(recorded: Gateway, agent: str) -> None:
    """What was asked and how it ended is there; so is the last statement of a client that hangs up."""
    def act() -> None:
        db = psycopg.connect(recorded.dsn(agent), autocommit=True)
        timer = threading.Timer(0.3, db.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT pg_sleep(20)")
        timer.join()
        db.pgconn.send_query(b"SELECT pg_sleep(0.1), 'last words'")
        db.pgconn.flush()
        db.close()

    seen = session_of(recorded, act)
    assert "57014" in seen.of("error", "code")
    assert seen.of("statement", "text")[-1] == "SELECT pg_sleep(0.1), 'last words'"


def test_psql_prints_what_the_recording_shows(recorded: Gateway, backend: Server, agent: str) -> None:
    """The same rows, row for row, in the simple protocol, with FETCH_COUNT, and by \\gdesc and \\bind."""
    printed: list[str] = []
    script = "SELECT id, word, tags, doc FROM plain ORDER BY id LIMIT 40;\nSELECT $1::int + 1 \\bind 41 \\g\nSELECT ssn FROM customers;\n"

    def act() -> None:
        printed.append(subprocess.run(
            [backend.bin / "psql", "-qAtX", "-v", "FETCH_COUNT=7"], input=script, capture_output=True, text=True,
            check=True, env={**os.environ, **recorded.environment(agent)}).stdout)

    seen = session_of(recorded, act)
    assert ["|".join(cell or "" for cell in row) for row in seen.rows] == printed[0].splitlines()


def test_connections_that_are_not_recorded_leave_nothing(recorded: Gateway, agent: str) -> None:
    """The rule is on `crm`."""
    before = set((recorded.state / "audit" / "recordings").glob("*"))
    with psycopg.connect(recorded.dsn(agent, "plain")) as db:
        db.execute("SELECT 1")
    assert set((recorded.state / "audit" / "recordings").glob("*")) == before


def test_a_bulk_result_is_recorded_to_the_last_row(recorded: Gateway, agent: str) -> None:
    """Chunks, marks and back-pressure: as many rows as the client got, and a log that verifies with the files."""
    sizes: list[int] = []

    def act() -> None:
        with psycopg.connect(recorded.dsn(agent), autocommit=True) as db:
            sizes.append(len(db.execute(
                "SELECT n, repeat('lorem ipsum ', 8), md5(n::text) FROM generate_series(1, 40000) n").fetchall()))

    seen = session_of(recorded, act)
    assert len(seen.rows) == sizes[0] == 40_000
    assert [row[0] for row in seen.rows] == [str(number) for number in range(1, 40_001)]
    end = end_of(recorded, seen.sid)
    assert end is not None
    assert end["coverage"]["chunks"] >= len(seen.raw) // (1 << 20)
    report = verify_log(recorded.state / "audit")
    assert report.verdict is Verdict.VERIFIED, report.findings


# ---------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def small(recorded: Gateway, agent: str) -> Seen:
    """A session of three statements."""
    def act() -> None:
        with psycopg.connect(recorded.dsn(agent), autocommit=True) as db:
            db.execute("SELECT name, ssn FROM customers ORDER BY id")
            db.execute("SELECT %s::text, %s::int", ("a\nb\x1b[2J'; DROP", None))
            with pytest.raises(psycopg.Error):
                db.execute("SELECT nothing FROM nowhere -- '")

    return session_of(recorded, act)


def run(*arguments: str, expect: int = 0) -> str:
    """What a command prints, in this process; its error output where that is expected."""
    done = CliRunner().invoke(assemble(arguments[0]), arguments)
    assert done.exit_code == expect, (done.output, done.stderr, done.exception)
    return done.stderr if expect else done.stdout


def words(front: Gateway, identity: Path, *more: str) -> list[str]:
    return ["--state", str(front.state), "--identity", str(identity), *more]


def test_without_a_terminal_replay_prints_it(recorded: Gateway, identity: Path, small: Seen) -> None:
    """Statements, parameters, masked rows, errors; control characters of a parameter are shown, not sent."""
    printed = run("session", "replay", small.sid, *words(recorded, identity))
    assert re.search(r"\[0:0\d\.\d{3}\] statement 1\n    │ SELECT name, ssn FROM customers ORDER BY id\n"
                     r"    name \| ssn\n    ann \| xxxx\n    bob \| xxxx\n    → SELECT 2\n", printed)
    assert "$1 = 'a\\\\nb\\\\x1b[2J\\\\'; DROP'" in printed or "\\x1b[2J" in printed
    assert "\x1b" not in printed
    assert "$2 = NULL" in printed
    assert run("session", "replay", small.sid[:9], *words(recorded, identity, "--search", "BOB")) == "    bob | xxxx\n"
    assert run("session", "replay", small.sid, *words(recorded, identity, "--at", "1h")) == ""
    path = streams_of(recorded.state / "audit", small.sid)["client"]
    assert run("session", "replay", str(path), "--identity", str(identity), "--state", "/nonexistent") == printed


def test_every_view_is_on_record(recorded: Gateway, identity: Path, small: Seen) -> None:
    """Who plays or exports a recording of the log's folder leaves a record of it, by name, before it is seen."""
    run("session", "export", small.sid, *words(recorded, identity, "--out", "-", "--format", "sql"))
    views = [json.loads(line) for line in _leaves(recorded) if b'"recording_view"' in line]
    assert views[-1]["data"] == {"session": small.sid, "stream": "client", "purpose": "export sql"}
    assert views[-1]["requester"]


def _leaves(front: Gateway) -> Sequence[bytes]:
    with Reader(front.state / "audit") as reader:
        return [bytes(leaf) for _, _, leaf in reader._source.leaves()]


def test_another_identity_is_told_so(recorded: Gateway, small: Seen, tmp_path: Path) -> None:
    """A clear error, and nothing is shown."""
    other = tmp_path / "other"
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    printed = run("session", "replay", small.sid, *words(recorded, other), expect=4)
    assert "this identity does not open the recording" in printed
    assert "ann" not in printed


def test_exports_are_what_others_read(recorded: Gateway, identity: Path, small: Seen, tmp_path: Path) -> None:
    """JSON lines hold what was shown, SQL can be read without harm, asciicast is version 2."""
    for form in ("jsonl", "sql", "asciicast"):
        run("session", "export", small.sid, *words(recorded, identity, "--out", str(tmp_path / form), "--format", form))
        assert (tmp_path / form).stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    assert lines[0]["session"] == small.sid
    assert [line["values"] for line in lines if line.get("kind") == "row"] == small.rows
    sql = (tmp_path / "sql").read_text()
    assert "SELECT name, ssn FROM customers ORDER BY id\n;\n-- → SELECT 2\n" in sql
    assert "\n-- SELECT nothing FROM nowhere -- '\n" in sql, "what failed is a comment as a whole"
    assert "\x1b" not in sql
    header, *events = [json.loads(line) for line in (tmp_path / "asciicast").read_text().splitlines()]
    assert header["version"] == 2
    assert {type(header["width"]), type(header["height"]), type(header["timestamp"])} == {int}
    assert all(isinstance(at, float) and code == "o" and isinstance(text, str) for at, code, text in events)
    again = run("session", "export", small.sid, *words(recorded, identity, "--out", str(tmp_path / "sql")), expect=4)
    assert "File exists" in again


class Screen:
    """`lockgate session replay` on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.execvp(command()[0], command("session", "replay", *arguments))
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.text = ""

    def press(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def wait(self, words: str) -> str:
        """Until the words are on the screen; what came up to then, which is not looked at again."""
        deadline = time.monotonic() + 20
        while words not in self.text:
            assert time.monotonic() < deadline, f"{words!r} did not come: {self.text!r}"
            ready, _, _ = select.select([self._descriptor], [], [], 1.0)
            if ready:
                self.text += os.read(self._descriptor, 65_536).decode("utf-8", "replace")
        seen, found, self.text = self.text.partition(words)
        return seen + found

    def end(self) -> int:
        """Wait until it has ended; its exit status."""
        try:
            while os.read(self._descriptor, 65_536):
                pass
        except OSError:
            pass                # EIO: the other end is closed (pty(7))
        _, status = os.waitpid(self.pid, 0)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(status)


def test_the_player_s_keys(recorded: Gateway, identity: Path, small: Seen) -> None:
    """Pause, speed, statements on and back, search and the next find, the end, and leaving."""
    screen = Screen(small.sid, *words(recorded, identity, "--speed", "0.0625"))
    screen.wait("statement 1")
    screen.press(" ")
    screen.wait("paused at")
    screen.press("+")
    screen.wait("speed 0.125")
    screen.press("-")
    screen.wait("speed 0.0625")
    screen.press("0")
    screen.wait("at 0:00.000")
    screen.press("/bob\r")
    screen.wait("search: bob")
    screen.wait("at 0:")
    screen.press("n")
    screen.wait("no further bob")
    screen.press("\x1b[C")
    screen.wait("SELECT $1::text")
    screen.press("\x1b[D")
    screen.wait("SELECT name, ssn FROM customers")
    screen.press("+" * 12)
    screen.wait("speed 256")
    screen.press(" ")
    shown = screen.wait("end of the recording")
    assert "ann | xxxx" in shown
    assert "bob | xxxx" in shown
    screen.press("\x1b[A")
    screen.wait("at 0:00.000")
    screen.press("q")
    assert screen.end() == 0


@pytest.mark.skipif(not (shutil.which("age") and shutil.which("zstd")), reason="age or zstd is not installed")
def test_other_people_s_tools_read_a_chunk(recorded: Gateway, identity: Path, small: Seen) -> None:
    """age and zstd open what the gateway wrote, with the auditor's identity."""
    chunk = next(chunks_of(BytesIO(streams_of(recorded.state / "audit", small.sid)["client"].read_bytes())))
    opened = subprocess.run(["age", "-d", "-i", str(identity)], input=chunk, capture_output=True, check=True).stdout
    plain = subprocess.run(["zstd", "-dc"], input=opened, capture_output=True, check=True).stdout
    assert plain.startswith(b'{"v":1,"kind":"sql"')
    assert b"SELECT name, ssn FROM customers" in plain


# ---------------------------------------------------------------- ends that nobody wished for


def test_a_killed_gateway_s_recording_is_stated_at_the_next_start(
    backend: Server, tokens: Issuer, agent: str, identity: Path, tmp_path: Path,
) -> None:
    """`kill -9` in the middle of a session: the log says how much is there, and that much can be played."""
    with gateway(tmp_path, config(), env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as front:
        db = psycopg.connect(front.dsn(agent), autocommit=True)
        db.execute("SELECT 'before the mark'")
        (sid,) = wait_for(lambda: [path.name for path in (front.state / "audit" / "recordings").glob("*")])

        def chunks() -> int:
            with Reader(front.state / "audit") as reader:
                return int(reader.session(sid).marks.get("client", {"chunks": 0})["chunks"])

        wait_for(lambda: chunks() > 0)
        db.execute("SELECT 'behind the mark'")
        front.process.send_signal(signal.SIGKILL)
        front.process.wait(20)
        db.close()
    log = front.state / "audit"
    before = Playback(streams_of(log, sid)["client"], Opener([IDENTITY]))
    assert b"before the mark" in b"".join(event.data for event in before.events())
    run("session", "replay", sid, "--state", str(front.state), "--identity", str(identity))     # opens the log anew
    end = end_of(front, sid)
    assert end is not None
    assert (end["cause"], end["coverage"]["state"], end["coverage"]["reason"]) == ("crash", "cut", "crash")
    assert end["coverage"]["chunks"] >= 1
    assert "cut" in run("session", "list", "--state", str(front.state))
    assert "cut: crash (1 stream, " in run("session", "show", sid, "--state", str(front.state))
    assert verify_log(log).verdict is Verdict.VERIFIED


def test_a_recording_without_recipients_stops_the_start(tmp_path: Path) -> None:
    """Nobody could play it: with the line that asks for it."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(config("").format(folder=tmp_path, port=1, control=2, backend=3, issuer="http://127.0.0.1:4"))
    with pytest.raises(ConfigError, match=r"lockgate\.yaml:\d+: rule `recorded` asks for recordings, which nobody could play"):
        load_configuration(path)


def test_a_recording_in_a_package_is_played_once_the_package_verifies(
    recorded: Gateway, identity: Path, small: Seen, tmp_path: Path,
) -> None:
    """An auditor with the package, the pinned key and an identity sees what the log's folder shows, and leaves no record."""
    package, key = tmp_path / "evidence.tar", recorded.state / "audit" / "log.vkey"
    run("audit", "export", "--session", small.sid, "--state", str(recorded.state), "--out", str(package))
    views = sum(b'"recording_view"' in line for line in _leaves(recorded))
    own = ["--package", str(package), "--key", str(key), "--identity", str(identity)]
    played = run("session", "replay", small.sid, *own)
    assert "ann | xxxx" in played
    run("session", "export", small.sid, *own, "--out", str(tmp_path / "sql"), "--format", "sql")
    assert "SELECT name, ssn FROM customers ORDER BY id" in (tmp_path / "sql").read_text()
    assert sum(b'"recording_view"' in line for line in _leaves(recorded)) == views
    assert played == run("session", "replay", small.sid, *words(recorded, identity))
    assert "no recorded stream backend" in run("session", "replay", small.sid, *own, "--stream", "backend", expect=4)
    data = bytearray(package.read_bytes())
    data[data.index(b"age-encryption.org")] ^= 1
    package.write_bytes(data)
    assert "TAMPERED" in run("session", "replay", small.sid, *own, expect=1)
    run("audit", "export", "--session", small.sid, "--no-payloads", "--state", str(recorded.state), "--out", str(tmp_path / "b.tar"))
    own[1] = str(tmp_path / "b.tar")
    assert "withholds the recording" in run("session", "replay", small.sid, *own, expect=4)

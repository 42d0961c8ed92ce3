"""Fetching a published log from servers that do not mean well."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Absent, MalformedEntry
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.errors import AuditError
from lockgate.model import Secret
from lockgate.net import published
from lockgate.net.published import published_at
from tests.unit.audit.logs import sample
from tests.unit.audit.tiles.published import files, publisher_of

Answers = dict[str, tuple[int, dict[str, str], bytes]]


@contextmanager
def serving(answers: Answers) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server on loopback with exactly these answers; yields its prefix and the headers that it saw."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            status, headers, body = answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/log", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_log_is_verified_over_http(tmp_path: Path) -> None:
    """Checkpoint, tiles and bundles of a real log; a changed byte on the way is found."""
    sample(tmp_path)
    publisher_of(tmp_path).run()
    answers: Answers = {f"/log/{path}": (200, {}, content) for path, content in files(tmp_path / "tiles").items()}
    with serving(answers) as (prefix, seen), published_at(f"{prefix}/") as fetch:
        report = verify_tiles(fetch, prefix, key=tmp_path / "log.vkey")
        assert (report.verdict, report.entries) == (Verdict.VERIFIED, 16)
        assert all(headers["Accept-Encoding"] == "identity" and "Authorization" not in headers for headers in seen)
        tile = answers["/log/tile/0/000.p/16"][2]
        answers["/log/tile/0/000.p/16"] = (200, {}, tile[:-1] + bytes([tile[-1] ^ 1]))
        assert verify_tiles(fetch, prefix, key=tmp_path / "log.vkey").verdict is Verdict.TAMPERED


def test_answers_are_bounded_and_plain() -> None:
    """Longer than it may be, cut short, compressed unasked, redirected, failing: refused, never followed."""
    with serving({
        "/log/long": (200, {}, bytes(101)), "/log/whole": (200, {}, bytes(100)),
        "/log/cut": (200, {"Content-Length": "50"}, bytes(10)), "/log/gone": (410, {}, b""),
        "/log/zipped": (200, {"Content-Encoding": "gzip"}, bytes(10)),
        "/log/moved": (302, {"Location": "/log/whole"}, b""), "/log/broken": (500, {}, b"canary"),
        "/log/denied": (401, {}, b""),
    }) as (prefix, seen), published_at(prefix) as fetch:
        assert fetch("whole", 100) == bytes(100)
        with pytest.raises(MalformedEntry, match="longer than 100"):
            fetch("long", 100)
        for path in ("missing", "gone"):
            with pytest.raises(Absent):
                fetch(path, 100)
        for path in ("cut", "zipped", "moved", "broken", "denied"):
            with pytest.raises(AuditError) as found:
                fetch(path, 100)
            assert "canary" not in str(found.value)
        assert "--token-file" in found.value.advice()
        assert len(seen) == 9


def test_an_answer_has_to_come_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a little now and then does not keep anybody."""
    monkeypatch.setattr(published, "_WHOLE", -1.0)
    with serving({"/log/slow": (200, {}, b"x")}) as (prefix, _), published_at(prefix) as fetch:
        with pytest.raises(AuditError, match="no whole answer"):
            fetch("slow", 100)


def test_nobody_there_is_an_error_without_a_traceback() -> None:
    """Refused connections and impossible hosts are the log's absence of an answer."""
    with serving({}) as (prefix, _):
        pass
    with published_at(prefix) as fetch, pytest.raises(AuditError, match="ConnectError"):
        fetch("checkpoint", 100)


def test_a_token_goes_to_who_may_have_it() -> None:
    """To loopback and over https; a plain connection to elsewhere is refused before anything is sent."""
    with serving({"/log/checkpoint": (200, {}, b"x")}) as (prefix, seen):
        with published_at(prefix, Secret("canary-token")) as fetch:
            fetch("checkpoint", 10)
        assert seen[0]["Authorization"] == "Bearer canary-token"
    with pytest.raises(AuditError, match="https only"), published_at("http://log.test/log", Secret("canary-token")):
        pass
    with published_at("https://log.test/log", Secret("canary-token")):
        pass


@pytest.mark.parametrize("prefix", [
    "ftp://log.test", "http://", "http://user:secret@log.test/", "https://log.test/?a=b", "https://log.test/#x",
    "http://log.test:port/", "log.test", "http://[::1",
])
def test_only_a_plain_prefix_is_asked(prefix: str) -> None:
    """http or https with a host, nothing more."""
    with pytest.raises(AuditError), published_at(prefix):
        pass

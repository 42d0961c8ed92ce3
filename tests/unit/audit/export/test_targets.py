"""The three targets against real files, sockets and an HTTP server: what counts as delivered, and what does not."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest

from lockgate.audit.export.exporter import Undelivered
from lockgate.audit.export.files import JsonLinesFile
from lockgate.audit.export.https import HttpsTarget
from lockgate.audit.export.syslog import Message, SyslogTarget, frame
from lockgate.model import Secret
from testbed.certificates import Certificate, make_certificate
from tests.unit.audit.export.receivers import http_server, stream_receiver

MESSAGES = [Message(1_800_000_000_123, severity, "OCSF-6005", b'{"n":%d}' % severity) for severity in (1, 3, 4)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1", use_rsa=False)


def serving(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


# ---------------------------------------------------------------- files


def test_lines_are_on_the_disk_before_the_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte is written, then the file is synced, and a new file's folder after it; nobody else may read it."""
    calls: list[str] = []
    for name in ("write", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, real=real, name=name: calls.append(name) or real(*given))
    file = JsonLinesFile(tmp_path / "events.jsonl")
    file.write([b"a", b"b"])
    assert calls == ["write", "fsync", "fsync"]
    file.write([b"c"])
    file.write([])
    assert calls == ["write", "fsync", "fsync", "write", "fsync"]
    assert file.path.read_bytes() == b"a\nb\nc\n"
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_takes_a_part_only_is_written_to_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write is continued; nothing is taken for written that is not."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    file = JsonLinesFile(tmp_path / "events.jsonl")
    file.write([b"abcdef", b"ghi"])
    assert file.path.read_bytes() == b"abcdef\nghi\n"


@pytest.mark.parametrize("torn", [b"torn", b"x" * 100_000])
def test_a_line_that_a_crash_cut_short_is_taken_away(tmp_path: Path, torn: bytes) -> None:
    """Its batch comes again; half a line would make the next one unreadable."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"whole\n" + torn)
    JsonLinesFile(path).write([b"next"])
    assert path.read_bytes() == b"whole\nnext\n"
    path.write_bytes(torn)
    JsonLinesFile(path).write([b"next"])
    assert path.read_bytes() == b"next\n"


def test_rotation_by_size_and_age_keeps_the_newest(tmp_path: Path) -> None:
    """A full or old file gets its time as a name; of these `keep` stay, and order by name is order by time."""
    now = [1_800_000_000.0]
    path = tmp_path / "events.jsonl"
    compressed = tmp_path / "events.jsonl.20990101T000000Z.gz"
    compressed.write_bytes(b"somebody else's")
    file = JsonLinesFile(path, size=10, age=60.0, keep=2, now=lambda: now[0])
    for line in (b"1" * 12, b"2" * 12, b"3" * 12, b"4" * 2):
        file.write([line])
    compressed.unlink()
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["events.jsonl", "events.jsonl.20270115T080000Z-000001", "events.jsonl.20270115T080000Z-000002"]
    kept = [each.read_bytes()[:1] for each in sorted(tmp_path.glob("events.jsonl.*"))]
    assert kept == [b"2", b"3"]
    os.utime(path, (now[0], now[0]))
    file.write([b"5"])
    assert path.read_bytes() == b"44\n5\n"
    now[0] += 61.0
    file.write([b"6"])
    assert path.read_bytes() == b"6\n"
    now[0] -= 3600.0
    for line in (b"7" * 12, b"8"):
        file.write([line])
    assert [each.read_bytes()[:1] for each in sorted(tmp_path.glob("events.jsonl*"))] == [b"8", b"6", b"7"]


def test_what_is_no_regular_file_is_not_written_to(tmp_path: Path) -> None:
    """A link or a pipe in the file's place is refused, and so is a folder that is not there."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "no/folder"):
        with pytest.raises(Undelivered):
            JsonLinesFile(tmp_path / name).write([b"x"])
    assert not (tmp_path / "elsewhere").exists()


# ---------------------------------------------------------------- syslog


def test_a_message_has_the_form_of_rfc_5424() -> None:
    """Priority of log audit and OCSF's severity, time with a zone, our name, the class as MSGID, no structured data."""
    assert [frame(message, "ga te", 13).decode() for message in MESSAGES] == [
        f"<{priority}>1 2027-01-15T08:00:00.123Z ga-te lockgate {os.getpid()} OCSF-6005 - " f'{{"n":{number}}}'
        for priority, number in ((110, 1), (108, 3), (107, 4))
    ]


def test_tcp_counts_octets_and_waits_until_the_receiver_has_read() -> None:
    """RFC 6587: each message with its length, in order; a batch counts once the receiver has closed its side."""
    with stream_receiver() as read:
        target = SyslogTarget(read.address, "tcp", host="gate")
        target.write(MESSAGES)
        assert read.messages == [frame(message, "gate", 13) for message in MESSAGES]
        target.write([])
        assert len(read.connections) == 1


def test_tls_reaches_only_a_receiver_with_the_right_certificate(certificate: Certificate, tmp_path: Path) -> None:
    """RFC 5425: octet counting inside TLS, checked against the authority and the name."""
    trusted = ssl.create_default_context(cafile=certificate.authority)
    other = ssl.create_default_context(cafile=make_certificate(tmp_path, "127.0.0.1", use_rsa=False).authority)
    with stream_receiver(serving(certificate)) as read:
        SyslogTarget(read.address, "tls", tls=trusted, host="gate").write(MESSAGES)
        assert read.messages == [frame(message, "gate", 13) for message in MESSAGES]
        for context, name in ((other, ""), (trusted, "siem.example")):
            with pytest.raises(Undelivered):
                SyslogTarget(read.address, "tls", tls=context, server_name=name).write(MESSAGES)
        assert len(read.connections) == 1


def test_a_tls_connection_that_is_cut_has_delivered_nothing(certificate: Certificate) -> None:
    """Without the receiver's close_notify the end may be anybody's doing: the batch comes again."""
    trusted = ssl.create_default_context(cafile=certificate.authority)
    with stream_receiver(serving(certificate), is_polite=False) as read, pytest.raises(Undelivered):
        SyslogTarget(read.address, "tls", tls=trusted).write(MESSAGES)


def test_a_receiver_that_breaks_off_has_not_taken_the_batch() -> None:
    """What its TCP stack took is not what it has read: the batch is undelivered and comes again."""
    many = [Message(0, 1, "OCSF-6005", b"x" * 1000)] * 3000
    with stream_receiver(reads=5000) as read, pytest.raises(Undelivered):
        SyslogTarget(read.address, "tcp").write(many)


def test_a_receiver_that_never_reads_to_the_end_is_given_up_in_time() -> None:
    """Time is bounded; nobody there at all is an error at once."""
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(Undelivered, match=r"in time|timed out"):
        SyslogTarget(deaf.getsockname(), "tcp", patience=0.2).write(MESSAGES)
    with pytest.raises(Undelivered, match="refused"):
        SyslogTarget(("127.0.0.1", deaf_port()), "tcp").write(MESSAGES)


def deaf_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_udp_sends_a_datagram_for_each_message() -> None:
    """RFC 5426: one message, one datagram; what cannot fit one is an error and not cut."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        target = SyslogTarget(receiver.getsockname(), "udp", host="gate")
        target.write(MESSAGES)
        assert [receiver.recv(4096) for _ in MESSAGES] == [frame(message, "gate", 13) for message in MESSAGES]
        with pytest.raises(Undelivered, match="datagram"):
            target.write([Message(0, 1, "x", b"x" * 70_000)])


# ---------------------------------------------------------------- https


def test_a_post_carries_the_token_and_is_compressed(certificate: Certificate) -> None:
    """Over TLS that is checked; the secret is asked for each time, so that a rotated one is used at once."""
    tokens = iter(["first", "second"])
    context = ssl.create_default_context(cafile=certificate.authority)
    with http_server(serving(certificate)) as posted:
        target = HttpsTarget(posted.url, "application/x-ndjson",
                             lambda: {"Authorization": Secret(f"Bearer {next(tokens)}")}, tls=context)
        target.write(b'{"a":1}\n')
        target.write(b'{"b":2}\n')
        target.close()
    assert posted.bodies == [b'{"a":1}\n', b'{"b":2}\n']
    path, headers, _ = posted.requests[0]
    assert (path, headers["content-type"], headers["content-encoding"]) == ("/events", "application/x-ndjson", "gzip")
    assert [headers["authorization"] for _, headers, _ in posted.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(("answer", "after", "smaller", "words"), [
    (503, 0.0, False, "busy"), ((429, {"Retry-After": "17"}), 17.0, False, "busy"),
    ((503, {"Retry-After": "Thu, 01 Jan 2099 00:00:00 GMT"}), 0.0, False, "busy"), (413, 0.0, True, "size"),
    (400, 3600.0, False, "refuses"), (401, 3600.0, False, "refuses"), (404, 3600.0, False, "refuses"),
    ((302, {"Location": "http://127.0.0.1:9/"}), 3600.0, False, "refuses"),
])
def test_what_each_answer_means(answer: int | tuple[int, dict[str, str]], after: float, smaller: bool, words: str) -> None:
    """Busy is later, too large is smaller, anything else stands until somebody has looked; a redirect is not followed."""
    with http_server() as posted:
        posted.answer = lambda _: answer
        target = HttpsTarget(posted.url, "text/plain", lambda: {"Authorization": Secret("Bearer canary")})
        with pytest.raises(Undelivered, match=words) as caught:
            target.write(b"x")
        target.close()
    assert (caught.value.after, caught.value.smaller) == (after, smaller)
    assert "canary" not in repr(caught.value)


def test_nothing_of_the_environment_redirects_a_post(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy or an authority in an environment variable would see the record and the token."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with http_server() as posted:
        target = HttpsTarget(posted.url, "text/plain", dict, compress=False)
        target.write(b"x")
        target.close()
    assert posted.bodies == [b"x"]


def test_a_target_that_is_not_there_and_a_token_that_is_no_header_say_nothing_secret() -> None:
    """Neither the address nor the token is in the error."""
    for url, token in ((f"http://127.0.0.1:{deaf_port()}/canary", "x"), ("http://127.0.0.1:1/", "canary\nx"),
                       ("http://127.0.0.1:1/", "canarÿ€")):
        target = HttpsTarget(url, "text/plain", lambda token=token: {"Authorization": Secret(token)})
        with pytest.raises(Undelivered) as caught:
            target.write(b"x")
        target.close()
        assert "canar" not in str(caught.value)
        assert caught.value.__suppress_context__

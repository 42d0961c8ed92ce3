"""The way between a client's standard streams and the gateway."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from lockgate.errors import ConfigError
from lockgate.model import Secret
from lockgate.net.piping import (
    ERROR,
    EXIT,
    OUT,
    READY,
    SOCKET,
    FrameReader,
    Hello,
    connect,
    framed,
    listen,
    peer_of,
)

FRAMES = [(READY, b""), (OUT, b'{"id":1}\n'), (ERROR, b"x" * 300), (OUT, b""), (EXIT, b"{}")]
HELLO = Hello("p", Secret("t.o.k"), "crm", ("server", "--x"), {"KEY": Secret("k-1")}, "/srv")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 64, 1 << 20])
def test_any_split_gives_the_same_frames(size: int) -> None:
    """As the socket hands them over."""
    data = b"".join(framed(*one) for one in FRAMES)
    reader = FrameReader()
    assert [frame for at in range(0, len(data), size) for frame in reader.feed(data[at:at + size])] == FRAMES


def test_a_greeting_comes_back_as_it_was() -> None:
    """In one line; what is secret in it is in no representation."""
    line = HELLO.encode()
    assert (line.count(b"\n"), line.endswith(b"\n")) == (1, True)
    assert Hello.decode(line) == HELLO
    assert Hello.decode(Hello("p", Secret("")).encode()) == Hello("p", Secret(""))
    assert not any(secret in repr(HELLO) for secret in ("t.o.k", "k-1"))


@pytest.mark.parametrize("line", [
    b"", b"{", b"[]", b"1", b"{}", b'"x"', b"\xff", b"[" * 100_000, HELLO.encode().replace(b'"p"', b"1"),
    HELLO.encode().replace(b'["server", "--x"]', b"[]"), HELLO.encode().replace(b'["server", "--x"]', b'"server"'),
    HELLO.encode().replace(b'{"KEY": "k-1"}', b"[]"), HELLO.encode().replace(b'"k-1"', b"7"),
    HELLO.encode().replace(b"/srv", b"/s\\u0000rv"), HELLO.encode().replace(b'"directory"', b'"folder"'),
])
def test_anything_else_is_no_greeting(line: bytes) -> None:
    """One kind of error for all that another program may send."""
    if line == HELLO.encode().replace(b'["server", "--x"]', b'"server"'):
        assert Hello.decode(line).command == tuple("server")      # words of one sign: no harm, and no such program
        return
    with pytest.raises(ValueError, match=r".*"):
        Hello.decode(line)


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask; in a folder whose name is longer than a socket's address; and who connects is known."""
    folder = tmp_path / ("a" * 120)
    folder.mkdir()
    before = os.umask(0)
    try:
        listening = listen(folder)
    finally:
        os.umask(before)
    with listening:
        assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600
        reached = connect(folder)
        assert reached is not None
        with reached, listening.accept()[0] as accepted:
            assert peer_of(accepted) == (os.getpid(), os.getuid())


def test_a_socket_that_is_left_over_is_nobody(tmp_path: Path) -> None:
    """A gateway that was killed leaves it; the next one takes its place."""
    assert connect(tmp_path) is None
    listen(tmp_path).close()
    assert connect(tmp_path) is None
    with listen(tmp_path):
        reached = connect(tmp_path)
        assert reached is not None
        reached.close()
    assert connect(tmp_path / "not-there") is None
    with pytest.raises(ConfigError, match="No such file"):
        listen(tmp_path / "not-there")


def test_the_other_end_of_a_pair_is_this_process() -> None:
    """The kernel says it, not the peer."""
    one, two = socket.socketpair()
    with one, two:
        assert peer_of(one) == (os.getpid(), os.getuid())

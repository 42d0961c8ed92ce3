"""What the log's thread waits for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from lockgate.audit.bell import Bell


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    yield bell
    bell.close()


def test_a_ring_before_the_wait_is_not_lost(bell: Bell) -> None:
    """Who comes late does not wait: alone or beside a socket."""
    here, there = socket.socketpair()
    with here, there:
        bell.ring()
        bell.wait()
        bell.ring()
        assert not bell.wait_beside(here.fileno())


def test_what_comes_first_is_told(bell: Bell) -> None:
    """A ring is told from something to read, and from the other side's end; neither is there twice."""
    here, there = socket.socketpair()
    with here:
        ringer = threading.Thread(target=bell.ring)
        ringer.start()
        assert not bell.wait_beside(here.fileno())
        ringer.join()
        there.sendall(b"x")
        assert bell.wait_beside(here.fileno())
        assert here.recv(1) == b"x"
        bell.wait(0)
        there.close()
        assert bell.wait_beside(here.fileno())


def test_something_to_read_is_told_even_where_it_was_rung(bell: Bell) -> None:
    """Both at once: the answer is not put off by rings, and no ring stays behind for a later wait."""
    here, there = socket.socketpair()
    with here, there:
        bell.ring()
        there.sendall(b"x")
        told = [bell.wait_beside(here.fileno()), bell.wait_beside(here.fileno())]
        assert told == [False, True]

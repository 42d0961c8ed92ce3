"""Streams that hold exchanges: pieces with numbers, and credentials that are torn apart in one of several at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.audit.recording.events import Event, Tag
from lockgate.audit.recording.scrub import Needles, Scrubbers
from lockgate.model import Secret
from tests.unit.audit.recording.tapes import Desk

NEEDLES = Needles((Secret("credential"),))


def test_a_piece_keeps_its_place(tmp_path: Path) -> None:
    """Number and part come back with the bytes, beside pieces that have none."""
    desk = Desk(tmp_path)
    desk.run()
    desk.tape.put(0.5, "i", b"ask", Tag(3, "m", more=False))
    desk.tape.put(0.6, "o", b"plain")
    desk.tape.put(0.7, "o", b"{}", Tag(3, "e", more=False))
    desk.tape.finish()
    desk.run()
    assert desk.events() == [
        Event(0.5, "i", b"ask", {"x": 3, "p": "m"}), Event(0.6, "o", b"plain"), Event(0.7, "o", b"{}", {"x": 3, "p": "e"})]
    assert desk.unmarked() == 0


def test_what_is_left_out_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    """The log says so before the last mark, and the stream is recorded to its end."""
    desk = Desk(tmp_path)
    desk.run()
    desk.tape.leave_out("2 contents recorded in part", 4_711)
    desk.tape.put(0.1, "o", b"more")
    desk.tape.finish()
    desk.run()
    assert desk.said.cuts == [("client", 4_711, "2 contents recorded in part")]
    assert desk.said.marks[-1]["data"]["final"] is True  # type: ignore[index]
    assert [event.data for event in desk.events()] == [b"more"]


@pytest.mark.parametrize("others", [0, 5])
def test_a_credential_that_is_torn_apart_is_found_in_its_own_exchange(others: int) -> None:
    """Pieces of others between its halves change nothing, and no byte moves to another exchange."""
    scrubbers = Scrubbers()
    beside = [(("o", 9 + number, "c"), b"other", True) for number in range(others)]
    first = scrubbers.take([(("o", 1, "c"), b"a creden", True), *beside, (("o", 2, "c"), b"tial b", True)], NEEDLES)
    second = scrubbers.take([(("o", 2, "c"), b"c", False), *beside, (("o", 1, "c"), b"tial d", False)], NEEDLES)
    assert first[0] + second[-1] == b"a ********** d"
    assert first[-1] + second[0] == b"tial bc"
    assert first[1:-1] == second[1:-1] == [b"other"] * others
    assert scrubbers.rest() == []


def test_a_part_that_ends_keeps_nothing_back() -> None:
    """What could have been the beginning of a credential is none when no more comes."""
    scrubbers = Scrubbers()
    assert scrubbers.take([(("o", 1, "m"), b"no creden", False)], NEEDLES) == [b"no creden"]
    assert scrubbers.take([(("o", 2, "c"), b"yet creden", True)], NEEDLES) == [b"yet "]
    assert scrubbers.take([(("o", 2, "c"), b"", False)], NEEDLES) == [b"creden"]


def test_many_clean_pieces_are_handed_on_as_they_are() -> None:
    """The same objects: nothing is joined and cut again where nothing is found."""
    pieces = [(("i", number, "m"), b"request %d" % number, False) for number in range(50)]
    taken = Scrubbers().take(pieces, NEEDLES)
    assert all(one is piece[1] for one, piece in zip(taken, pieces, strict=True))
    assert Scrubbers().take([*pieces, (("i", 99, "m"), b"my credential", False)], NEEDLES)[-1] == b"my **********"


def test_a_cut_between_what_is_held_back_and_the_end_loses_nothing(tmp_path: Path) -> None:
    """A stream that ends while something is held back writes it with its number."""
    desk = Desk(tmp_path, (Secret("credential"),))
    desk.run()
    desk.tape.put(0.1, "o", b"half a creden", Tag(1, "c", more=True))
    desk.tape.finish()
    desk.run()
    assert [(event.data, event.fields["x"]) for event in desk.events()] == [(b"half a ", 1), (b"creden", 1)]

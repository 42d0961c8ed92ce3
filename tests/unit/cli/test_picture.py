"""What of a terminal's recorded output reaches the viewer's own terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.cli.picture import Picture
from lockgate.cli.played import plain

KEPT = ["plain text\r\n\ttab", "ü 漢字 🙂", "\x1b[1;31mred\x1b[0m", "\x1b[38:2:1:2:3mrgb", "\x1b[2J\x1b[H", "\x1b[?25l\x1b[?1049h",
        "\x1b[5;10r\x1b[3A\x1b[2K", "\x1b7\x1b8\x1b=\x1b>\x1bM\x1bc", "\x1b(0\x1b(B\x0e\x0f", "x\x1b[12b", "\x1b[4h\x1b[4l", "\x1b[?J"]
GONE = {
    "cursor report": "\x1b[6n", "device attributes": "\x1b[c", "secondary attributes": "\x1b[>c", "identify": "\x1bZ",
    "enquiry": "\x05", "title": "\x1b]0;title\x07", "title report": "\x1b[21t", "clipboard": "\x1b]52;c;ZXZpbA==\x1b\\",
    "link": "\x1b]8;;https://evil.test\x1b\\", "status string": "\x1bP$qm\x1b\\", "tmux": "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\",
    "application command": "\x1b_Gf=100;AAAA\x1b\\", "privacy": "\x1b^x\x1b\\", "mouse": "\x1b[?1000h", "mouse and cursor": "\x1b[?25;1003h",
    "focus": "\x1b[?1004h", "paste": "\x1b[?2004h", "mode report": "\x1b[?25$p", "parameters": "\x1b[x", "printer": "\x1b[5i",
    "checksum": "\x1b[1;1;1;1;1;1*y", "version": "\x1b[>q", "keys": "\x1b[>1u", "key report": "\x1b[?u", "colour": "\x1b]4;0;?\x07",
    "eight bits": "\x9b6n\x9d52;c;eA==\x9c", "many": "x\x1b[99999b"[1:], "deleted": "\x7f\x00\x11\x13",
}


@pytest.mark.parametrize("text", KEPT)
def test_what_only_draws_is_kept(text: str) -> None:
    """Colours, positions, erasing, the second screen: a recording looks as it did."""
    assert Picture().feed(text) == text


@pytest.mark.parametrize("name", GONE)
def test_nothing_answers_or_reaches_further(name: str) -> None:
    """What would be typed for the viewer, or changes more than the picture, is not there, whole or byte by byte."""
    sent = f"a{GONE[name]}b"
    left = Picture().feed(sent)
    assert left in ("ab", "a6n52;c;eA==b", "a6nb")      # without its introducer it is text
    picture = Picture()
    assert "".join(picture.feed(char) for char in sent) == left


@given(st.lists(st.text(alphabet="\x1b[]PX^_\\;?>c6nth0m()#\x07\x18\x9b\x9d\x9cab$ \r\n", max_size=12), max_size=8))
def test_what_is_left_is_the_same_however_it_comes(pieces: list[str]) -> None:
    """Pieces cannot put together what the whole would not hold, and what was shown is shown again as it is."""
    picture = Picture()
    shown = "".join(picture.feed(piece) for piece in pieces)
    assert shown == Picture().feed("".join(pieces))
    assert Picture().feed(shown) == shown
    assert not set("\x05\x7f\x9b\x9d") & set(shown)


def test_a_sequence_inside_of_a_sequence_does_not_survive_as_text() -> None:
    """For a pipe every control sequence is taken out once; what that leaves is made visible."""
    assert "\x1b" not in plain("\x1b\x1b[1m[6n \x9b6n \x1b7")
    assert plain("\x1b[1mbold\x1b[0m\r\nNext") == "bold\nNext"

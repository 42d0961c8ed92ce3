"""The plaintext of a recording: lines, and bytes behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.audit.recording.events import (
    BYTES_LIMIT,
    Event,
    EventReader,
    Header,
    bytes_line,
    fields_line,
    header_line,
)
from lockgate.errors import AuditError

HEADER = Header("sql", "postgres", "5e55", "client", 1_800_000_000_000)
EVENTS = [
    Event(0.0, "i", b"Q\0\0\n{}"), Event(0.25, "o", b""), Event(1.5, "w", b"", {"columns": 80, "rows": 24}),
    Event(3600.000001, "o", b"\n" * 9), Event(3601.0, "x", b"", {"reason": "full"}),
]


def plain() -> bytes:
    written = header_line(HEADER)
    for event in EVENTS:
        if event.fields:
            written += fields_line(event.at, event.kind, event.fields)
        else:
            written += bytes_line(event.at, event.kind, len(event.data)) + event.data + b"\n"
    return written


@given(st.lists(st.integers(0, len(plain())), max_size=8))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    """Chunks end anywhere, also inside of a line or of its bytes."""
    reader, found, before = EventReader(), [], 0
    for cut in [*sorted(cuts), len(plain())]:
        found += reader.feed(plain()[before:cut])
        before = cut
    assert reader.header == HEADER
    assert found == EVENTS


@pytest.mark.parametrize("junk", [
    b"junk\n", b"[]\n", b"{\"t\":1}\n", b'{"t":1,"k":"o","n":-1}\n', b'{"t":1,"k":"o","n":2}\nabc', b'{"t":"x","k":"o"}\n',
    b'{"t":1,"k":"o","n":%d}\n' % (BYTES_LIMIT + 1), b"x" * 5_000, b"x" * 5_000 + b"\n", b'{"t":1,"k":"o","n":true}\n',
])
def test_what_is_no_event_is_refused(junk: bytes) -> None:
    """A recording whose content is not understood is damaged, and nothing grows while it is found out."""
    with pytest.raises(AuditError, match="no recording holds"):
        EventReader().feed(header_line(HEADER) + junk)


@pytest.mark.parametrize("line", [b'{"v":2}\n', b'{"v":1,"kind":"sql"}\n', header_line(HEADER).replace(b'"5e55"', b"7")])
def test_another_header_is_refused(line: bytes) -> None:
    """A version that this one does not know, and a header without its fields."""
    with pytest.raises(AuditError):
        EventReader().feed(line)

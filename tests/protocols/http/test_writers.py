"""Writers write what our reader and foreign ones read back as it was meant, or nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import LocalProtocolError
from lockgate.protocols.http.codec import (
    FieldLines,
    chunk,
    field_lines,
    last_chunk,
    request_bytes,
    response_bytes,
)
from lockgate.protocols.http.messages import Field
from tests.protocols.http import support as s

HOST = Field.of(b"Host", b"a.example")
X = Field.of(b"X", b"y")
LENGTH = Field.of(b"Content-Length", b"3")
CHUNKED = Field.of(b"Transfer-Encoding", b"chunked")

TOKENS = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=12).map(str.encode)
NAMES = TOKENS.map(lambda token: b"x" + token)          # none that means something
VALUES = st.text("".join(map(chr, [9, *range(32, 127), *range(128, 256)])), max_size=30).map(lambda t: t.encode("latin-1").strip())
FIELDS = st.lists(st.builds(Field.of, NAMES, VALUES), max_size=6)
METHODS = st.text("ABCXYZ-_!", min_size=1, max_size=12).map(str.encode).filter(lambda m: m not in (b"CONNECT", b"TRACE"))
TARGETS = st.text("abc/?=&;%.~{}|:@", max_size=20).map(lambda t: b"/" + t.replace("%", "%41").encode())
BODIES = st.one_of(st.none(), st.binary(max_size=40), st.lists(st.binary(min_size=1, max_size=20), max_size=4))


def framed(fields: list[Field], body: bytes | list[bytes] | None, trailers: list[Field]) -> tuple[list[Field], bytes]:
    """The fields with the one that frames the body, and the body as it goes on the wire."""
    if body is None:
        return fields, b""
    if isinstance(body, bytes):
        return [*fields, Field.of(b"Content-Length", b"%d" % len(body))], body
    return [*fields, CHUNKED], b"".join(map(chunk, body)) + last_chunk(trailers)


@st.composite
def requests(draw: Callable[..., object]) -> tuple[bytes, s.Seen]:
    """A request as the writers write it, and what everybody shall see."""
    body, trailers = draw(BODIES), draw(FIELDS)
    method, target = draw(METHODS), draw(TARGETS)
    fields, content = framed([HOST, *draw(FIELDS)], body, trailers)  # type: ignore[misc,arg-type]
    seen = s.Seen((method, target), pairs(fields),  # type: ignore[arg-type]
                  b"".join(body) if isinstance(body, list) else body or b"",  # type: ignore[arg-type]
                  pairs(trailers) if isinstance(body, list) else ())  # type: ignore[arg-type]
    return request_bytes(method, target, fields) + content, seen  # type: ignore[arg-type]


def pairs(fields: list[Field]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((field.name, field.value) for field in fields)


@given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(0, 2_000), max_size=5))
def test_requests_read_back(messages: list[tuple[bytes, s.Seen]], places: list[int]) -> None:
    """What is written is read back in any split, by us and by h11."""
    data = b"".join(written for written, _ in messages)
    meant = tuple(seen for _, seen in messages)
    found = s.ours(s.pieces(data, *(place % (len(data) + 1) for place in places)))
    assert (found.seen, found.end) == (meant, str(len(meant)))
    assert s.by_h11(data).seen == meant


@given(st.integers(200, 599).filter(lambda status: status not in (204, 304)), VALUES, FIELDS, BODIES, FIELDS,
       st.lists(st.integers(0, 2_000), max_size=5))
def test_responses_read_back(
    status: int, reason: bytes, fields: list[Field], body: bytes | list[bytes] | None, trailers: list[Field], places: list[int],
) -> None:
    """The same for responses; one that says nothing of its end has ended when the connection closes."""
    all_fields, content = framed(fields, body, trailers)
    data = response_bytes(status, reason, all_fields) + (content or b"to the end" * (body is None))
    found = s.ours_of_response(s.pieces(data, *(place % (len(data) + 1) for place in places)), b"GET", closed=True)
    assert found == s.by_h11_of_response(data, b"GET", closed=True)
    assert found.end == "1"
    assert found.seen[0].fields == pairs(all_fields)


def test_heads_as_they_are_written() -> None:
    """Names go out as they came, in their order, and nothing is added."""
    fields = [HOST, Field(b"x-a", b"b", b"X-a"), Field(b"x-a", b"", b"x-A")]
    assert request_bytes(b"GET", b"/", fields) == b"GET / HTTP/1.1\r\nHost: a.example\r\nX-a: b\r\nx-A: \r\n\r\n"
    assert response_bytes(404, b"Not Found", [X], 0) == b"HTTP/1.0 404 Not Found\r\nX: y\r\n\r\n"
    assert response_bytes(200, b"", []) == b"HTTP/1.1 200 \r\n\r\n"
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert last_chunk() == b"0\r\n\r\n"
    assert last_chunk([X]) == b"0\r\nX: y\r\n\r\n"


@pytest.mark.parametrize("write", [
    *(lambda value=value: request_bytes(b"GET", b"/", [Field(b"x", value, b"X")])
      for value in (b"a\r\nY: z", b"a\nY: z", b"a\rY: z", b"a\0", b" a", b"a ", b"\ta", b"a\x7f", b"a\r\n b", b"\r\n")),
    *(lambda name=name: request_bytes(b"GET", b"/", [Field(name, b"y", name)])
      for name in (b"", b"x y", b"x:", b"x\r\ny", b"x\xe9", b" x", b":path", b"x\0")),
    lambda: request_bytes(b"GET", b"/", [Field(b"x", b"y", b"Z")]),
    lambda: request_bytes(b"GET", b"/", [Field(b"X", b"y", b"X")]),
    lambda: request_bytes(b"GET", b"/", [LENGTH, CHUNKED]),
    lambda: request_bytes(b"GET", b"/", [LENGTH, LENGTH]),
    lambda: response_bytes(200, b"OK", [CHUNKED, LENGTH]),
    *(lambda method=method: request_bytes(method, b"/", []) for method in (b"", b"G T", b"GET\r\n", b"G\xc9T", b"get")),
    *(lambda target=target: request_bytes(b"GET", target, []) for target in (b"", b"/ HTTP/1.1\r\nX:", b"/\t", b"/\n", b"/\xe9", b"/\0")),
    *(lambda status=status: response_bytes(status, b"", []) for status in (0, 99, 600, -200)),
    *(lambda reason=reason: response_bytes(200, reason, []) for reason in (b"a\r\nX: y", b"a\n", b"\0")),
    lambda: response_bytes(200, b"", [], 2),
    lambda: response_bytes(200, b"", [Field(b"x", b"y\r\n\r\n<html>", b"X")]),
    lambda: chunk(b""),
    *(lambda name=name: last_chunk([Field.of(name, b"5")])
      for name in (b"Content-Length", b"Transfer-Encoding", b"Host", b"Authorization", b"Set-Cookie", b"Content-Type", b"Trailer")),
    lambda: last_chunk([Field(b"x", b"y\r\n\r\nGET /", b"X")]),
])
def test_what_cannot_be_written_is_not(write: Callable[[], bytes]) -> None:
    """Nothing goes out that would be read as something else: an error of this side."""
    with pytest.raises(LocalProtocolError):
        write()


@given(answers=st.lists(FIELDS, max_size=4))
def test_lines_that_were_written_before_are_the_same_lines(answers: list[list[Field]]) -> None:
    """Whatever the answers before held."""
    lines = FieldLines()
    for fields in [*answers, *answers]:
        assert lines(fields) == field_lines(fields)


def test_a_line_that_was_written_before_is_checked_in_its_new_company() -> None:
    """Two fields that frame are refused though each alone was written; so is one that is no line, however often."""
    lines = FieldLines()
    assert lines([LENGTH]) + lines([CHUNKED]) == field_lines([LENGTH]) + field_lines([CHUNKED])
    for fields in ([LENGTH, CHUNKED], [X, Field.of(b"X", b"a\r\nSet-Cookie: b")], [X, Field(b"x", b"y", b"Z")]) * 2:
        with pytest.raises(LocalProtocolError):
            lines(fields)

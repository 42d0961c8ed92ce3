"""Parts of multipart/form-data are facts, in the one way in which they can be read."""

from __future__ import annotations

import httpx
import pytest

from lockgate.model import Rule
from lockgate.protocols.http.parts import MOST, BadParts, parts_of
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.http import scene as s

TYPE = b"multipart/form-data; boundary=B"
NO_UPLOAD = Rule(name="no-files", when='op.parts.exists(p, p.filename.endsWith(".exe"))', deny="no programs")


def part(head: str = 'Content-Disposition: form-data; name="a"', text: str = "1") -> bytes:
    return f"--B\r\n{head}\r\n\r\n{text}\r\n".encode()


def asked(content: bytes, media_type: str = TYPE.decode(), rules: tuple[Rule, ...] = (s.ALLOW, NO_UPLOAD)) -> int:
    """The status of one request to a backend that answers 200."""
    book = s.World(rules=rules).book() >> Bytes(CLIENT, s.request("POST", "/up", content, Content_Type=media_type))
    if book.sent(SERVER):
        book >> Bytes(SERVER, s.answer())
    return s.status(book)


def test_names_and_file_names_are_facts() -> None:
    """As a real client writes them."""
    made = httpx.Request("POST", "http://x", data={"note": "hello"}, files={"doc": ("r\u00e9sum\u00e9.txt", b"x\r\n--\r\n", "text/plain")})
    assert parts_of(made.headers["content-type"].encode(), made.read()) == [
        {"name": "note", "filename": "", "type": ""}, {"name": "doc", "filename": "r\u00e9sum\u00e9.txt", "type": "text/plain"}]


def test_a_condition_sees_them_and_what_cannot_be_read_is_refused() -> None:
    """400 where a rule depends on it; where none does, it is the backend's to read. Without parts the list is empty."""
    file = part('Content-Disposition: form-data; name="f"; filename="a.exe"')
    assert asked(part() + b"--B--\r\n") == 200
    assert asked(part() + file + b"--B--") == 403
    assert asked(part() + file) == 400
    assert asked(part() + file, rules=(s.ALLOW,)) == 200
    assert asked(b"{}", "application/json") == 200
    assert len(parts_of(TYPE, part() * MOST + b"--B--")) == MOST
    assert parts_of(TYPE, b"--B--") == []
    book = s.World(rules=(s.ALLOW, NO_UPLOAD)).book() >> Bytes(CLIENT, s.request())
    assert book.sent(SERVER)


@pytest.mark.parametrize("content", [
    part(), b"", b"text\r\n" + part() + b"--B--", part() + b"--B--\r\ntext", part().replace(b"\r\n", b"\n") + b"--B--",
    part('Content-Disposition: form-data; name="a"; name="b"') + b"--B--",
    part('Content-Disposition: form-data; name="a"; filename*=UTF-8\'\'b') + b"--B--",
    part("Content-Disposition: form-data; name=a") + b"--B--", part('Content-Disposition: form-data; name="a\\"b"') + b"--B--",
    part('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"') + b"--B--",
    part("X-Other: 1") + b"--B--", part('Content-Disposition: form-data; name="a"\r\n folded') + b"--B--",
    part() * (MOST + 1) + b"--B--", part(f"X-Long: {'x' * 5000}") + b"--B--",
], ids=range(14))
def test_what_could_be_read_in_two_ways_is_refused(content: bytes) -> None:
    """No end, text around the parts, bare line feeds, names twice or in other forms, too many."""
    with pytest.raises(BadParts):
        parts_of(TYPE, content)


@pytest.mark.parametrize("media_type", [
    b"multipart/form-data", b"multipart/form-data; boundary=B; boundary=C", b'multipart/form-data; boundary="B',
    b"multipart/form-data; charset=x; boundary=B",
])
def test_a_boundary_is_the_only_parameter(media_type: bytes) -> None:
    """Two programs might take another one."""
    with pytest.raises(BadParts):
        parts_of(media_type, part() + b"--B--")

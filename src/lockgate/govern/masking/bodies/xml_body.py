"""XML bodies: elements and attributes that masks name, and what detectors find in texts.

Expat reads along and says whether it is well formed; here is where things stand, so that what is not hidden stays byte for
byte. A document type is refused, and with it every entity that a document could bring; so are other encodings than UTF-8.
Prefixes of namespaces are no part of a name. The text between two tags is one, whatever comments or sections are in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from lockgate.govern.masking.bodies.members import Members
from lockgate.govern.masking.bodies.values import Values
from lockgate.govern.masking.detector import REDACTED

DEEPEST: Final = 512

_TOKEN: Final = re.compile(
    rb"(?P<text>[^<]++)|(?P<comment><!--.*?-->)|<!\[CDATA\[(?P<section>.*?)\]\]>|(?P<instruction><\?.*?\?>)"
    rb"|(?P<close></[^<>]*+>)|(?P<open><(?![!?/])[^<>\"']*+(?:(?:\"[^\"]*+\"|'[^']*+')[^<>\"']*+)*+>)", re.DOTALL)
_ATTRIBUTE: Final = re.compile(rb"([^\s=/<>\"']+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_DECLARATION: Final = re.compile(rb"<\?xml[ \t\r\n]")
_NAME: Final = re.compile(rb"</?([^\s/<>]+)")
_ENTITY: Final = re.compile(rb"&(?:#x([0-9a-fA-F]{1,8})|#([0-9]{1,8})|([a-z]{2,4}));")
_ENTITIES: Final = {b"lt": b"<", b"gt": b">", b"amp": b"&", b"quot": b'"', b"apos": b"'"}
_UTF8: Final = ("utf-8", "utf8", "us-ascii", "ascii")


@dataclass(slots=True)
class _Element:
    name: str
    state: int


class XmlBody:
    """The mask over a document."""

    __slots__ = ("_has_inner", "_held", "_hidden", "_hides", "_limit", "_members", "_open", "_parser", "_run", "_size",
                 "_values", "masked")

    def __init__(self, values: Values) -> None:
        self.masked = values.masked
        self._values = values
        self._members = Members(values)
        self._limit = values.terms.limit
        self._parser = expat.ParserCreate("UTF-8")
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._parser.XmlDeclHandler = _require_utf8
        self._held = b""
        self._open: list[_Element] = []
        self._run: list[tuple[bytes, bytes | None]] = []   # what stands between two tags, and what of it is text
        self._size = 0                              # of that
        self._hides = -1                            # what hides the element at the depth `_hidden`
        self._hidden = -1
        self._has_inner = False

    def feed(self, data: bytes) -> bytes:
        """What may go on. ValueError for what is no XML, or is XML of a kind that is refused."""
        self._read(data, is_last=False)
        self._held += data
        return self._tokens(is_last=False)

    def finish(self) -> bytes:
        """The rest. ValueError where the document is not whole."""
        if not self._held and not self._open and not self._run and self._parser.CurrentByteIndex <= 0:
            return b""
        self._read(b"", is_last=True)
        rest = self._tokens(is_last=True)
        if self._held or self._open:
            raise ValueError("not XML")
        return rest + self._ran()

    def _read(self, data: bytes, *, is_last: bool) -> None:
        try:
            self._parser.Parse(data, is_last)
        except expat.ExpatError:
            raise ValueError("not XML") from None

    def _tokens(self, *, is_last: bool) -> bytes:
        data, at, out = self._held, 0, []
        while at < len(data):
            found = _TOKEN.match(data, at)
            if found is None:
                break
            # A text may go on, unless it is long enough to be lost under what hides it.
            if found.lastgroup == "text" and found.end() == len(data) and not is_last and (
                    self._hides < 0 or self._size + len(data) - at <= self._limit):
                break
            out.append(self._token(found.group(), found.lastgroup or "", found["section"]))
            at = found.end()
        self._held = data[at:]
        if len(self._held) + self._size > self._limit:
            raise ValueError("a part of the XML document is too long to be looked at")
        if self._held.startswith(b"<!") and not any(
                mark.startswith(self._held[:len(mark)]) for mark in (b"<!--", b"<![CDATA[")):
            raise ValueError("XML with a document type is refused")
        return b"".join(out)

    def _token(self, raw: bytes, kind: str, section: bytes | None) -> bytes:
        if kind in ("open", "close"):
            return self._ran() + (self._opened(raw) if kind == "open" else self._closed(raw))
        if self._hides >= 0 and self._size + len(raw) > self._limit:
            self._run.clear()
            self._size = self._limit                # too long to be seen whole, and it is hidden in any case
            self._has_inner = True
            return b""
        self._size += len(raw)
        self._run.append((raw, _plain(raw) if kind == "text" else section if kind == "section" else None))
        return b""

    def _ran(self) -> bytes:
        """What stood before a tag."""
        run = self._run
        if not run or self._hides >= 0:
            return b""
        self._run = []
        self._size = 0
        text = b"".join(part for _, part in run if part is not None)
        raw = b"".join(self._aside(one) if part is None else one for one, part in run)
        if not text.strip() or not self._open:
            return raw
        element = self._open[-1]
        at = self._values.selection.tables.scalars[element.state]
        new = self._values.hidden_text(at, text) if at >= 0 else self._members.looked_at(text, element.name, element.state)
        return raw if new is text else _escaped(new)

    def _aside(self, raw: bytes) -> bytes:
        """A comment or an instruction."""
        return raw if _DECLARATION.match(raw) is not None else self._values.text(raw)

    def _opened(self, raw: bytes) -> bytes:
        """An element begins."""
        if len(self._open) >= DEEPEST:
            raise ValueError("XML is nested too deeply")
        name = _local(raw)
        chosen = self._values.selection
        state = chosen.below(chosen.tables.inside[self._open[-1].state] if self._open else 0, name)
        is_empty = raw.endswith(b"/>")
        if self._hides >= 0:
            self._has_inner = True
            if not is_empty:
                self._open.append(_Element(name, state))
            return b""
        tag = _ATTRIBUTE.sub(lambda found: self._attribute(found, state), raw)
        if not is_empty:
            self._open.append(_Element(name, state))
            self._hides = chosen.tables.objects[state]
            self._hidden = len(self._open)
            self._has_inner = False
        return tag

    def _closed(self, raw: bytes) -> bytes:
        """An element ends."""
        if not self._open:
            raise ValueError("not XML")
        depth = len(self._open)
        if self._hides < 0:
            self._open.pop()
            return raw
        self._open.pop()
        if depth != self._hidden:
            return b""
        at, self._hides = self._hides, -1
        text = b"".join(part for _, part in self._run if part is not None)
        self._run = []
        self._size = 0
        if self._has_inner:
            self._values.count(at)
            return REDACTED + raw
        return _escaped(self._values.hidden_text(at, text)) + raw

    def _attribute(self, found: re.Match[bytes], state: int) -> bytes:
        name = found[1].rpartition(b":")[2].decode("utf-8", "replace")
        value = _plain(found[2][1:-1])
        if found[1] == b"xmlns" or found[1].startswith(b"xmlns:"):
            new = self._values.text(value)          # no mask names a namespace
        else:
            new = self._members.text(value, name, state)
        if new is value:
            return found[0]
        return found[0][:found.start(2) - found.start()] + b'"' + _escaped(new) + b'"'


def _refuse_doctype(*_what: object) -> None:
    raise ValueError("XML with a document type is refused")


def _require_utf8(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in _UTF8:
        raise ValueError("the XML document is in a character encoding that is not looked into")


def _local(tag: bytes) -> str:
    found = _NAME.match(tag)
    if found is None:
        raise ValueError("not XML")
    return found[1].rpartition(b":")[2].decode("utf-8", "replace")


def _plain(text: bytes) -> bytes:
    """A text with its references undone."""
    return text if b"&" not in text else _ENTITY.sub(_meant, text)


def _meant(found: re.Match[bytes]) -> bytes:
    if found[3] is not None:
        return _ENTITIES.get(found[3], found[0])
    number = int(found[1], 16) if found[1] is not None else int(found[2])
    return chr(number).encode("utf-8", "replace") if number < 0x110000 else found[0]


def _escaped(text: bytes) -> bytes:
    return text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b'"', b"&quot;")

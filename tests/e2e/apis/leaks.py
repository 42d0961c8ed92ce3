"""Answers with two values that must not be seen: one under a name that a mask names, one that a detector knows.

Each is written in a form that a reader of it would understand, and `readings` are those that somebody could try on what came
out. Not among the forms, because nothing is claimed of them (`docs/explanation/bodies.md`): base64, words around a document,
names in HTML, YAML and scripts, names that are values, URLs inside of values.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import brotli
import zstandard

from testbed.scripted import Script
from tests.e2e.apis.exchanges import chunked, lines

SSN = b"219-09-9999"
CARD = b"4111111111111111"
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, "gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstandard.compress,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
    "zstd, deflate, gzip": lambda data: gzip.compress(zlib.compress(zstandard.compress(data))),
}
UNDO: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.decompress, b"deflate": zlib.decompress, b"br": brotli.decompress,
    b"zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
FRAMINGS = ("length", "chunks", "close")


@dataclass(frozen=True)
class Leak:
    """One answer. `hides`: which of the two are in it."""

    name: str
    script: Script
    hides: tuple[bytes, ...]
    method: bytes = b"GET"

    @property
    def raw(self) -> bytes:
        return b"".join(self.script.pieces)


def answer(
    content: bytes | None, kind: str = "application/json", *, status: int = 200, coding: str = "", framing: str = "length",
    trailers: tuple[tuple[bytes, bytes], ...] = (), **fields: str,
) -> Script:
    """An answer in one of the framings; in `chunks` each byte is one."""
    said = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()]
    if kind:
        said.append((b"Content-Type", kind.encode()))
    if coding:
        said.append((b"Content-Encoding", coding.encode()))
        content = CODINGS[coding](content or b"") if coding in CODINGS else content
    start = b"HTTP/1.1 %d Fine\r\n" % status
    if content is None:
        return Script([start + lines(said) + b"\r\n"])
    if framing == "chunks":
        said.append((b"Transfer-Encoding", b"chunked"))
        return Script([start + lines(said) + b"\r\n" + chunked(content, tuple(range(1, len(content))), trailers)])
    said.append((b"Connection", b"close") if framing == "close" else (b"Content-Length", b"%d" % len(content)))
    return Script([start + lines(said) + b"\r\n" + content], closes=framing == "close")


def readings(raw: bytes, content: bytes = b"", coding: bytes = b"") -> Iterator[bytes]:
    """What somebody could make of an answer: as it is, decompressed, with escapes of all kinds undone, digits alone."""
    plain = content
    for name in reversed([one.strip() for one in coding.split(b",") if one.strip()]):
        try:
            plain = UNDO[name](plain)
        except (KeyError, ValueError, OSError, EOFError, zlib.error, brotli.error, zstandard.ZstdError):
            break
    for text in {raw, content, plain}:
        for view in (text, text.replace(b"\0", b""), unquote_to_bytes(text.replace(b"+", b" ")),
                     html.unescape(text.decode("latin-1")).encode("utf-8", "replace"), _unescaped(text), _unescaped(_unescaped(text))):
            yield view
            yield b"".join(re.findall(rb'"content":"([^"]*)"', view))
            yield re.sub(rb"(?<=[0-9])[ .+/-](?=[0-9])", b"", view)


def _unescaped(text: bytes) -> bytes:
    text = re.sub(rb"\\u00([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), text)
    return text.replace(b'\\"', b'"').replace(b"\\\\", b"\\")


def _nested(deep: int, in_array: bool) -> bytes:
    document: object = {"ssn": SSN.decode(), "note": f"card {CARD.decode()} ok"}
    for level in range(deep):
        document = [document, level] if in_array else {"a": level, "in": document}
    return json.dumps(document).encode()


_BOTH = b'{"id":1,"ssn":"' + SSN + b'","note":"card ' + CARD + b'"}'
_AS_TEXT = json.dumps({"text": _BOTH.decode()}).encode()


def _part(head: bytes, content: bytes) -> bytes:
    return b"--b\r\n" + head + b"\r\n" + content + b"\r\n--b--\r\n"


SHAPES: dict[str, tuple[str, bytes]] = {
    "object": ("application/json", _BOTH), "array": ("application/json", b"[[" + _BOTH + b"]," + _BOTH + b"]"),
    "deep": ("application/json", _nested(40, in_array=False)), "deep arrays": ("application/json", _nested(40, in_array=True)),
    "document in a string": ("application/json", _AS_TEXT), "in two": ("application/json", json.dumps({"t": _AS_TEXT.decode()}).encode()),
    "escapes": ("application/json", b'{"\\u0073s\\u006e":"\\u0032\\u0031' + SSN[2:] + b'","n":"\\u0034' + CARD[1:] + b'"}'),
    "numbers": ("application/json", b'{"ssn":"' + SSN + b'","n":' + CARD + b"}"), "mark": ("application/json", b"\xef\xbb\xbf" + _BOTH),
    "names twice": ("application/json", b'{"ssn":"x","ssn":"' + SSN + b'","note":"","note":"' + CARD + b'"}'),
    "NaN": ("application/json", b'{"n":NaN,' + _BOTH[1:]), "comment": ("application/json", b"/*a*/" + _BOTH),
    "trailing comma": ("application/json", _BOTH[:-1] + b",}"), "half": ("application/json", _BOTH[:-1]),
    "other case": ("application/json", _BOTH.replace(b"ssn", b"SsN")), "as a name": ("application/json", b'{"' + CARD + b'":1,' + _BOTH[1:]),
    "object below": ("application/json", b'{"ssn":{"v":["' + SSN + b'"]},"c":["' + CARD + b'"]}'),
    "vendor": ("application/vnd.x.v1+json; charset=UTF-8", _BOTH), "problem": ("application/problem+json", _BOTH),
    "lines": ("application/x-ndjson", _BOTH + b"\n" + _BOTH + b"\n"), "sequence": ("application/json-seq", b"\x1e" + _BOTH + b"\n"),
    "events": ("text/event-stream", b"id: " + CARD + b"\nevent: e\ndata: " + _BOTH + b"\n\n: " + CARD + b"\ndata:" + _BOTH + b"\n\n"),
    "an event in lines": ("text/event-stream", b'data: {"ssn":\r\ndata: "' + SSN + b'","n":\r\ndata: "' + CARD + b'"}\r\n\r\n'),
    "event without an end": ("text/event-stream", b"\xef\xbb\xbfdata: " + _BOTH),
    "a model's pieces": ("text/event-stream", b"".join(
        b'data: {"choices":[{"index":0,"delta":{"content":"' + piece + b'"}}]}\n\n' for piece in (b"4111", b"1111", b"1111", b"1111"))
        + b'data: {"ssn":"' + SSN + b'"}\n\ndata: [DONE]\n\n'),
    "form": ("application/x-www-form-urlencoded", b"a=1&%73sn=" + SSN + b"&c=4111%201111+1111%2d1111"),
    "form of names": ("application/x-www-form-urlencoded", CARD + b"=1&person[ssn]=" + SSN), "form; of two": (
        "application/x-www-form-urlencoded", b"a=" + CARD + b";ssn=" + SSN),
    "xml": ("application/xml", b'<?xml version="1.0"?><a><ssn>' + SSN + b"</ssn><n>&#52;" + CARD[1:] + b"</n></a>"),
    "xml attributes": ("text/xml", b"<a x:ssn='" + SSN + b"' xmlns:x='urn:" + CARD + b"'/>"),
    "xml aside": ("application/xml", b'<?xml-stylesheet href="' + CARD + b'"?><a><!-- ' + CARD + b" --><ssn><![CDATA[" + SSN + b"]]></ssn></a>"),
    "soap": ("application/soap+xml", b'<s:E xmlns:s="u"><s:ssn><v>' + SSN + b"</v></s:ssn><c>" + CARD + b"</c></s:E>"),
    "svg": ("image/svg+xml", b"<svg><text>" + CARD + b"</text><ssn>" + SSN + b"</ssn></svg>"),
    "document type": ("application/xml", b'<!DOCTYPE a [<!ENTITY s "' + SSN + b'">]><a>&s;' + CARD + b"</a>"),
    "csv": ("text/csv", b'id,"ssn",n\r\n1,"' + SSN + b'",' + CARD + b"\r\n"), "csv; mark": (
        "text/csv; charset=utf-8", b"\xef\xbb\xbfssn;n\n" + SSN + b";" + CARD + b"\n"), "csv sep": (
        "text/csv", b"sep=;\nid;ssn\n" + CARD + b";" + SSN + b"\n"), "csv of json": (
        "text/csv", b'a\n"' + _BOTH.replace(b'"', b'""') + b'"\n'), "tabs": ("text/tab-separated-values", b"ssn\tn\n" + SSN + b"\t" + CARD + b"\n"),
    "parts": ("multipart/mixed; boundary=b", _part(b"Content-Type: application/json\r\n", _BOTH)),
    "plain parts": ("multipart/mixed; boundary=b", _part(b"", _BOTH)), "a file": ("multipart/form-data; boundary=b", _part(
        b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n', _BOTH)),
    "a part's head": ("multipart/mixed; boundary=b", _part(b"X-Card: " + CARD + b"\r\n", b'{"ssn":"' + SSN + b'"}')),
    "part by name": ("multipart/form-data; boundary=b", _part(
        b'Content-Disposition: form-data; name="ssn"\r\n', SSN).replace(b"--b--", b"--b\r\n\r\n" + CARD + b"\r\n--b--")),
    "ranges": ("multipart/byteranges; boundary=b", _part(b"Content-Type: application/json\r\nContent-Range: bytes 0-9/10\r\n", _BOTH)),
    "http in parts": ("multipart/mixed; boundary=b", _part(
        b"Content-Type: application/http\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + _BOTH)),
    "utf-16": ("application/json", _BOTH.decode().encode("utf-16")), "utf-16 without a mark": ("application/json", _BOTH.decode().encode("utf-16-le")),
    "utf-32": ("application/json; charset=utf-32", _BOTH.decode().encode("utf-32")), "utf-16 text": ("text/plain", _BOTH.decode().encode("utf-16")),
    "two charsets": ("application/json; charset=utf-8; charset=utf-7", _BOTH), "latin": ("application/json; charset=iso-8859-1", _BOTH + b"\xe9"),
}
LABELS = ("text/plain", "text/plain; charset=iso-8859-1", "text/html", "text/csv", "text/tab-separated-values", "text/event-stream", "text/javascript",
          "text/xml", "application/xhtml+xml", "application/x-www-form-urlencoded", "application/yaml", "application/octet-stream",
          "image/png", "application/pdf", "application/zip", "multipart/mixed", "multipart/mixed; boundary=b", "application/json5",
          "application/json, text/plain", "application / json", '"application/json"', "Application/JSON ; Charset=\"UTF-8\"", "x", "")
URLS = ("/a?x=1&ssn=219-09-9999&c=4111%201111%201111%201111", "https://e.example/?ssn=219-09-9999#4111111111111111",
        "/?%73sn=219-09-9999;c=4111+1111+1111+1111")
STATUSES = (201, 202, 203, 207, 300, 400, 401, 403, 404, 409, 418, 422, 429, 451, 500, 501, 502, 503, 504, 599)
_CORE = ("object", "lines", "events", "form", "xml", "csv", "parts", "numbers")
HTML = b"<p>card 4111 1111 1111 1111</p>"


def leaks() -> list[Leak]:
    """All of them; names are unique."""
    both = (SSN, CARD)
    found = [Leak(f"{name} by {framing}", answer(content, kind, framing=framing), both)
             for name, (kind, content) in SHAPES.items() for framing in FRAMINGS]
    found += [Leak(f"{name} in {coding} by {framing}", answer(SHAPES[name][1], SHAPES[name][0], coding=coding, framing=framing), both)
              for name in _CORE for coding in CODINGS if coding for framing in FRAMINGS]
    found += [Leak(f"json as {label or 'nothing'}", answer(_BOTH, label), both) for label in LABELS]
    found += [Leak(f"array as {label}", answer(b" [1," + _BOTH + b"]", label), both) for label in LABELS[:8]]
    found += [Leak(f"{status} json", answer(_BOTH, status=status), both) for status in STATUSES]
    found += [Leak(f"{status} page", answer(HTML, "text/html", status=status, framing="close"), (CARD,)) for status in STATUSES]
    found += [Leak(f"{status} to {url}", answer(_BOTH, status=status, Location=url), both) for status in (201, 301, 302, 303, 307, 308)
              for url in URLS]
    found += [Leak(f"{name} {url}", answer(b"{}", **{name: url}), both) for name in ("Content_Location", "X_Next", "Refresh") for url in URLS]
    found += [Leak(f"field {name}: {value}", answer(b"{}", **{name: value}), hides) for name, value, hides in (
        ("ssn", SSN.decode(), (SSN,)), ("X_SSN", SSN.decode(), (SSN,)), ("Set_Cookie", f"ssn={SSN.decode()}; Path=/", (SSN,)),
        ("X_Card", CARD.decode(), (CARD,)), ("ETag", f'"{CARD.decode()}"', (CARD,)), ("Server", f"x {CARD.decode()}", (CARD,)),
        ("Content_Disposition", f"attachment; filename*=UTF-8''{CARD.decode()}.pdf", (CARD,)), ("Via", f"1.1 {CARD.decode()}", (CARD,)),
        ("Content_Disposition", 'attachment; filename="4111-1111-1111-1111.pdf"', (CARD,)), ("Link", f"</a?ssn={SSN.decode()}>; rel=x", (SSN,)),
        ("WWW_Authenticate", f'Basic realm="{CARD.decode()}"', (CARD,)), ("Warning", f'199 x "{CARD.decode()}"', (CARD,)),
        ("X_Info", f"a=1, ssn={SSN.decode()}", (SSN,)), ("Retry_After", CARD.decode(), (CARD,)), ("Vary", CARD.decode(), (CARD,)),
    )]
    found += [Leak(f"trailer {name}", answer(b"{}", framing="chunks", Trailer=name, trailers=((name.encode(), value),)), hides)
              for name, value, hides in (("ssn", SSN, (SSN,)), ("X-Ssn", SSN, (SSN,)), ("X-Card", CARD, (CARD,)),
                                         ("X-Next", b"/?c=4111%201111%201111%201111", (CARD,)))]
    found += [
        Leak("head", answer(None, X_Card=CARD.decode(), ssn=SSN.decode(), Content_Length="7"), both, b"HEAD"),
        Leak("head redirect", answer(None, "", status=302, Location=URLS[0]), both, b"HEAD"),
        Leak("204", answer(None, "", status=204, X_Card=CARD.decode(), ssn=SSN.decode()), both),
        Leak("304", answer(None, "", status=304, ETag=f'"{CARD.decode()}"', Content_Location=URLS[1]), both),
        Leak("206", answer(_BOTH, status=206, Content_Range="bytes 0-9/20"), both),
        Leak("206 of text", answer(b"9-09-9999 ssn " + _BOTH, "text/plain", status=206, Content_Range="bytes 0-9/20"), both),
        Leak("206 in parts", answer(SHAPES["ranges"][1], SHAPES["ranges"][0], status=206), both),
        Leak("416", answer(_BOTH, status=416, Content_Range="bytes */20"), both),
        Leak("said to be gzip", answer(_BOTH, Content_Encoding="gzip"), both), Leak("said to be br", answer(HTML, "text/html", Content_Encoding="br"), (CARD,)),
        Leak("unknown coding", answer(_BOTH, Content_Encoding="x-own"), both), Leak("half unknown", answer(gzip.compress(_BOTH), Content_Encoding="gzip, x-own"), ()),
        Leak("coded twice, said once", answer(gzip.compress(gzip.compress(_BOTH)), Content_Encoding="gzip"), ()),
        Leak("coding in capitals", answer(gzip.compress(_BOTH), Content_Encoding="X-GZIP"), ()),
        Leak("cut in its coding", answer(gzip.compress(_BOTH)[:-9], Content_Encoding="gzip"), ()),
        Leak("types over two", Script([answer(_BOTH, "").pieces[0].replace(b"\r\n\r\n", b"\r\nContent-Type: application/json;\r\n\r\n", 1)]), both),
        Leak("reason", Script([b"HTTP/1.1 200 " + CARD + b"\r\nContent-Length: 0\r\n\r\n"]), ()),
        Leak("early hints", Script([b"HTTP/1.1 103 Early\r\nLink: </" + CARD + b">\r\n\r\n", *answer(b"{}").pieces]), ()),
    ]
    return found

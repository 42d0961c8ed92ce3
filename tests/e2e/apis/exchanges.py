"""Made-up requests and answers: whatever HTTP allows, from a seed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random  # noqa: TID251 - test data

import brotli
import zstandard

from testbed.scripted import Fields, Script

METHODS = (b"GET", b"GET", b"GET", b"HEAD", b"POST", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND", b"REPORT")
STATUSES = (200, 200, 200, 200, 201, 202, 203, 204, 205, 206, 207, 226, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404,
            405, 406, 409, 410, 412, 416, 418, 422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 511, 599)
PATHS = (b"/", b"/a", b"/a/", b"/customers/17", b"/a;v=1/b;x", b"/%7Euser/caf%C3%A9", b"/a%20b/c+d", b"/a:b@c/$x,y", b"/-._~!$&'()*",
         b"/%e2%82%ac", b"/very" + b"/deep" * 40, b"/x" * 3 + b"/" + b"l" * 2000)
QUERIES = (b"", b"?", b"?a=1", b"?a=1&a=2&a", b"?q=%20+%2B&%C3%A9=%E2%82%AC", b"?x[]=1&x[y]=2", b"?a=/b?c:d@e", b"?=&&&=", b"?a=%00",
           b"?" + b"k=v&" * 200, b"?json={%22a%22:1}", b"?a=b;c=d", b"?%61=%62", b"?q='!()*~", b"?url=https://e.example/%2F..%2F")
REQUEST_FIELDS = (
    (b"Accept", b"*/*;q=0.1, text/html"), (b"accept", b""), (b"Accept-Language", b"de, en;q=0.5"), (b"User-Agent", b"x/1 (y; z) [k]"),
    (b"Cookie", b"a=1; b=\"2\""), (b"X-Many", b"1"), (b"X-Many", b"2"), (b"x-many", b"1"), (b"X-Empty", b""), (b"X-Tab", b"a\tb  c"),
    (b"X-Latin", b"caf\xe9 \xff"), (b"X-Utf8", "€ ü".encode()), (b"X-Long", b"l" * 7000), (b"X-Marks", b"\"(),/:;<=>?@[\\]{}"),
    (b"!#$%&'*+-.^`|~", b"odd name"), (b"If-None-Match", b"W/\"a\", \"b\""), (b"If-Match", b"*"), (b"Range", b"bytes=0-4, 7-"),
    (b"If-Modified-Since", b"Sat, 29 Oct 1994 19:43:31 GMT"), (b"Referer", b"http://e.example/?a=b"), (b"Cache-Control", b"no-cache"),
    (b"Accept-Encoding", b"gzip, br;q=0.5, x-unknown, *;q=0"), (b"Priority", b"u=1, i"), (b"traceparent", b"00-0af7651916cd43dd-b7-01"),
    (b"Sec-Fetch-Mode", b"cors"), (b"DNT", b"1"), (b"Prefer", b"return=minimal"), (b"Origin", b"https://e.example"),
    (b"Idempotency-Key", b"\"8e03978e\""), (b"Link", b"<a>; rel=b, <c>; rel=d"), (b"Max-Forwards", b"3"), (b"Pragma", b"no-cache"),
)
ANSWER_FIELDS = (
    (b"Set-Cookie", b"a=1; Path=/; HttpOnly"), (b"Set-Cookie", b"b=2, 3; Expires=Wed, 21 Oct 2026 07:28:00 GMT"), (b"set-cookie", b"c=\"d\""),
    (b"Server", b"own/1.0 (x)"), (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"Via", b"1.1 other"), (b"Vary", b"Accept, *"),
    (b"ETag", b"W/\"x,y\""), (b"Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"Location", b"/else?x=%20#y"),
    (b"Location", b"http://169.254.169.254/latest"), (b"WWW-Authenticate", b"Basic realm=\"a, b\""), (b"WWW-Authenticate", b"Bearer"),
    (b"Cache-Control", b"max-age=5, private=\"x\""), (b"Content-Language", b"de"), (b"Content-Location", b"/c"), (b"Age", b"7"),
    (b"Content-Disposition", b"attachment; filename*=UTF-8''%e2%82%ac.txt"), (b"Accept-Ranges", b"bytes"), (b"Allow", b""),
    (b"Content-MD5", b"Q2hlY2sgSW50ZWdyaXR5IQ=="), (b"Repr-Digest", b"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
    (b"Access-Control-Allow-Origin", b"*"), (b"Link", b"</x>; rel=next"), (b"Link", b"</y>; rel=prev"), (b"Retry-After", b"120"),
    (b"X-Latin", b"caf\xe9"), (b"X-Empty", b""), (b"X-Tab", b"a\tb"), (b"X-Long", b"z" * 6000), (b"x-CaSe", b"kept"),
    (b"Strict-Transport-Security", b"max-age=1"), (b"Alt-Svc", b"h3=\":443\""), (b"Refresh", b"5; url=/x"), (b"Trailer", b"X-Sum"),
)
TYPES = (b"application/json", b"text/plain; charset=iso-8859-1", b"text/html", b"image/png", b"application/octet-stream", b"",
         b"application/problem+json", b"text/event-stream", b"multipart/byteranges; boundary=x", b"application/json;a=b;charset=\"utf-8\"")
CODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b"zstd": zstandard.ZstdCompressor().compress,
    b"gzip, br": lambda data: brotli.compress(gzip.compress(data)), b"x-own": lambda data: data[::-1], b"identity": bytes,
}
TRAILERS = ((b"X-Sum", b"42"), (b"x-Other", b""), (b"X-Sum", b"43"), (b"Server-Timing", b"db;dur=53"))


@dataclass(frozen=True)
class Exchange:
    """A request in its parts, and the answer. `chunks` None: the content has a length."""

    number: int
    method: bytes
    target: bytes
    fields: Fields
    content: bytes | None
    chunks: tuple[int, ...] | None
    trailers: Fields
    expects: bool
    script: Script

    @property
    def case(self) -> bytes:
        return b"d%d" % self.number

    def head(self, *more: tuple[bytes, bytes]) -> bytes:
        """The request up to its content, with fields in front."""
        fields = [*more, (b"X-Case", self.case), *self.fields]
        if self.content is not None:
            fields.append((b"Transfer-Encoding", b"chunked") if self.chunks is not None
                          else (b"Content-Length", b"%d" % len(self.content)))
        if self.expects:
            fields.append((b"Expect", b"100-continue"))
        return b"%b %b HTTP/1.1\r\n" % (self.method, self.target) + lines(fields) + b"\r\n"

    def body(self) -> bytes:
        """The request's content in its framing."""
        if self.content is None:
            return b""
        return self.content if self.chunks is None else chunked(self.content, self.chunks, self.trailers)


def lines(fields: list[tuple[bytes, bytes]] | Fields) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields)


def chunked(content: bytes, borders: tuple[int, ...], trailers: Fields = ()) -> bytes:
    """The content in chunks that end at these places."""
    out, at = [], 0
    for border in (*borders, len(content)):
        piece = content[at:border]
        at = border
        if piece:
            out.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return b"".join(out) + b"0\r\n" + lines(trailers) + b"\r\n"


def exchanges(seed: int, count: int) -> list[Exchange]:
    """As many of them."""
    dice = Random(seed)
    return [_exchange(dice, number) for number in range(count)]


def _content(dice: Random, *, large: bool) -> bytes:
    kind = dice.randrange(4)
    size = dice.randrange(1 << 20) if large else dice.choice((0, 1, 2, 17, 500, 4096, 20_000))
    if kind == 0:
        return b'{"id":1,"ssn":"219-09-9999","n":[1.0,1e5,"\\u00e9"]}'
    return dice.randbytes(size) if kind == 1 else (b"%d line\r\n" % dice.randrange(99) * (size // 8 + 1))[:size]


def _some(dice: Random, pool: Fields, most: int, once: frozenset[bytes]) -> Fields:
    found: list[tuple[bytes, bytes]] = []
    for name, value in dice.sample(pool, dice.randrange(most)):
        if name.lower() not in once or all(name.lower() != other.lower() for other, _ in found):
            found.append((name, value))
    return tuple(found)


def _borders(dice: Random, size: int) -> tuple[int, ...]:
    if size and dice.random() < 0.1 and size < 600:
        return tuple(range(1, size))                    # a chunk for each byte
    return tuple(sorted(dice.randrange(size + 1) for _ in range(dice.randrange(8))))


_ONCE = frozenset((b"location", b"etag", b"last-modified", b"range", b"origin", b"if-modified-since"))


def _exchange(dice: Random, number: int) -> Exchange:
    method = dice.choice(METHODS)
    has_content = method not in (b"GET", b"HEAD", b"OPTIONS") or dice.random() < 0.05
    content = _content(dice, large=number % 25 == 0) if has_content and dice.random() < 0.9 else None
    in_chunks = content is not None and dice.random() < 0.4
    fields = _some(dice, REQUEST_FIELDS, 9, _ONCE)
    if content is not None and dice.random() < 0.8:
        fields += ((b"Content-Type", dice.choice(TYPES) or b"x/y"),)
    return Exchange(
        number, method, dice.choice(PATHS) + dice.choice(QUERIES), fields, content,
        _borders(dice, len(content)) if content is not None and in_chunks else None,
        TRAILERS[:dice.randrange(3)] if in_chunks and dice.random() < 0.3 else (),
        bool(content) and dice.random() < 0.2, _script(dice, method, large=number % 25 == 1))


def _script(dice: Random, method: bytes, *, large: bool) -> Script:
    """An answer that ends by its length, its chunks or with the connection; or has no content."""
    status = dice.choice(STATUSES)
    fields = list(_some(dice, ANSWER_FIELDS, 12, _ONCE))
    interim = dice.choice((b"", b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
                           b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 \r\nX: y\r\n\r\n"))
    start = b"HTTP/1.1 %d %b\r\n" % (status, dice.choice((b"", b"OK", b"Own \xe9 words", b"a\tb")))
    kind, content = dice.choice(TYPES), _content(dice, large=large)
    if kind and status not in (204, 304):
        fields.append((b"Content-Type", kind))
    if dice.random() < 0.3 and status not in (204, 205, 304):
        coding = dice.choice(tuple(CODINGS))
        content = CODINGS[coding](content)
        fields.append((b"Content-Encoding", coding))
    if status == 206:
        fields.append((b"Content-Range", b"bytes 0-%d/*" % max(0, len(content) - 1)))
    dice.shuffle(fields)
    framing = dice.choice(("length", "length", "chunked", "close"))
    if status in (204, 304):
        if status == 304 and dice.random() < 0.3:
            fields.append((b"Content-Length", b"%d" % len(content)))
        return Script(_pieces(dice, interim + start + lines(fields) + b"\r\n"))
    if status == 205:
        return Script([interim + start + lines(fields) + b"Content-Length: 0\r\n\r\n"])
    says_close = dice.random() < (0.7 if framing == "close" else 0.1)
    if says_close:
        fields.append((b"Connection", dice.choice((b"close", b"Close, X-Hop"))))
        fields.append((b"X-Hop", b"for one connection"))
    if framing == "length":
        fields.append((b"Content-Length", b"%d" % len(content)))
    elif framing == "chunked":
        fields.insert(dice.randrange(len(fields) + 1), (b"Transfer-Encoding", dice.choice((b"chunked", b"Chunked"))))
    fields.append((b"Keep-Alive", b"timeout=5"))
    head = interim + start + lines(fields) + b"\r\n"
    if method == b"HEAD":
        return Script([head], closes=says_close)
    body = chunked(content, _borders(dice, len(content)), TRAILERS[:dice.randrange(5)]) if framing == "chunked" else content
    return Script(_pieces(dice, head + body), closes=says_close or framing == "close")


def _pieces(dice: Random, data: bytes) -> list[bytes]:
    """Written at once, or cut somewhere."""
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(3)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a != b]

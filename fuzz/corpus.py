"""What the fuzzer starts from: a few well-formed inputs of each kind."""

from __future__ import annotations

import json
from pathlib import Path

from tests.protocols.http import sockets as w
from tests.protocols.postgres import support as s

_DATA = Path(__file__).parents[1] / "tests" / "data"

QUERY = s.query("SELECT 1")
STATEMENTS = [shape["sql"].encode() for shape in json.loads((_DATA / "leak-shapes.json").read_text())["shapes"]]
CLIENT_BYTES = [
    QUERY + s.query("BEGIN; DROP TABLE x; COMMIT"),
    s.parse("SELECT $1", "a") + s.bind("a", "p", [b"x", None]) + s.describe("P", "p") + s.execute("p", 5) + b"S\0\0\0\x04",
    s.parse("DELETE FROM t") + s.bind() + s.execute() + b"H\0\0\0\x04" + s.close("S", "a") + b"S\0\0\0\x04",
    s.query("COPY t FROM STDIN") + b"d\0\0\0\x08abc\n" + b"c\0\0\0\x04",
    b"F\0\0\0\x10" + bytes(12) + b"X\0\0\0\x04",
]
SERVER_BYTES = [
    s.columns("a", "b") + s.row(b"4111 1111 1111 1111", None) * 3 + b"C\0\0\0\x0dSELECT 3\0" + s.ready(),
    b"E\0\0\0\x1eSERROR\0C22P02\0Mboom\0\0" + s.ready("E"),
    b"G\0\0\0\x09\0\0\x01\0\0" + b"H\0\0\0\x09\0\0\x01\0\0" + b"d\0\0\0\x08abc\n" + b"c\0\0\0\x04",
    b"N\0\0\0\x0cSNOTICE\0\0" + b"A\0\0\0\x0c\0\0\0\x01c\0p\0" + b"S\0\0\0\x0ba\0bbbb\0" + b"1\0\0\0\x04" + b"2\0\0\0\x04",
]
_HOST = b"Host: a.example\r\n"
REQUESTS = [
    b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"POST /a?b=c HTTP/1.1\r\n" + _HOST + b"Content-Length: 5\r\nX-A: b\r\n\r\nhello",
    (b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\nZ: w\r\n\r\n"
     b"GET /%41 HTTP/1.1\r\n" + _HOST + b"\r\n"),
    b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03",
    b"GET http://a.example:80/x HTTP/1.1\r\n" + _HOST + b"Connection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\n" + _HOST + b"Expect: 100-continue\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n"),
    b"HTTP/1.0 404\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]
FRAMES = [
    w.frame(w.TEXT, '{"ssn":"219-09-9999","note":"card 4111111111111111"}') + w.closing(1000, "bye"),
    w.frame(w.TEXT, "hä", fin=False) + w.frame(w.PING, "x") + w.frame(w.CONTINUATION, "llo €") + w.frame(w.BINARY, bytes(range(256))),
    w.told(w.TEXT, '42["event",{"ssn":"219-09-9999"}]') + w.told(w.PONG) + w.told(w.TEXT, "[" * 300 + "]" * 300),
    w.told(w.TEXT, '{"type":"response.text.delta","item_id":"i","delta":"41111111"}') * 2 + w.closing(4000, "so", of_client=False),
]
LINES = [
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}\n{"jsonrpc":"2.0","method":"notifications/initialized"}\r\n',
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":\r'
     b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"drop"}}\r}}}\n'),
    (b'[{"jsonrpc":"2.0","id":3,"method":"ping"},{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"drop"}}]\n'
     b'{"jsonrpc":"2.0","id":5,"result":{"a":"\xe2\x80\xa8\xc2\x85"}}\n\n{"jsonrpc":"2.0","id":"x","error":{"code":1}}\n'),
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n{"jsonrpc":"2.0","id":1,"method":"x"}\n',
]
TOKENS = [
    b"eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2EiLCJzdWIiOiJiIiwiZXhwIjoxfQ." + b"A" * 86,
    b"eyJhbGciOiJub25lIn0.e30.",
]
LEAVES = [b'{"type":"heartbeat","v":1}', b'{"a":[1,{"b":null}],"c":"\\u00e9"}']
CONFIGURATIONS = [
    b"state: s\nlisteners:\n  - {name: a, protocol: p, address: \"127.0.0.1:1\"}\n",
    b"a: &x [1, 2]\nb: *x\nc: {d: !!str e, f: |\n  text\n}\n", b"? x\n: - y\n  - 'z'\n",
]

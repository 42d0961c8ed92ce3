"""The real gateway in front of both sides: a client that keeps every byte that it receives.

No client library stands in between: messages are compared as they came, but for process ids. The masks are
those of the model, written as policy. A session ends with a statement that may leave something behind in it.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lockgate.model import ColumnMask
from testbed.gateway import Gateway, gateway, issuer
from testbed.noninterference.databases import Databases
from testbed.noninterference.harness import Harness
from testbed.noninterference.models import SIDES
from testbed.noninterference.outcome import Message, Outcome

_HEAD: Final = """\
state: {folder}/state
listeners:
  - {{name: agents, protocol: postgres, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: async, origin: test.lockgate.example/log}}
identity:
  providers:
    - {{name: test, issuer: "{issuer}", audience: lockgate, agent_claim: agent, model_claim: model, leeway: 0s,
       algorithms: [ES256], unsafe_http: true}}
connections:
"""
_CONNECTION: Final = """\
  - name: {side}
    protocol: postgres
    address: 127.0.0.1:{port}
    credential: {{user: postgres, password: {{env: SIDES_PASSWORD}}}}
    tls: {{mode: disable}}
    options: {{database: {database}}}
"""
_POLICIES: Final = """\
policies:
  - {name: agents-connect, who: {groups: [agents]}, allow: connect}
  - name: hide
    connections: [one, two]
    notice: true
    mask:
"""
OPEN: Final = "-open"
_KEEPS: Final = re.compile(r"\b(?:prepare|declare|set|listen|temp|temporary|discard|commit|begin|load)\b", re.IGNORECASE)
"""What may leave something in the session that a ROLLBACK does not take away."""
_PROTOCOL: Final = 196_608              # 3.0 (manual, "Message Formats", StartupMessage)
_FIRST_USER_OID: Final = 16_384
_REFUSALS: Final = ("42501", "0A000")
_TIMEOUT: Final = 30


def _braced(text: str) -> str:
    """For `str.format`, which fills the gateway's file in."""
    return text.replace("{", "{{").replace("}", "}}")


def _mask(mask: ColumnMask) -> str:
    columns = ", ".join(f'"{column}"' for column in mask.columns)
    return (f'      - {{columns: [{columns}], with: "{mask.method.name.lower()}",'
            f" predicates: {mask.predicates.name.lower()}}}\n")


def configuration(databases: Databases) -> str:
    """The file of a gateway with two connections for each side: under the model's masks, and without (`OPEN`)."""
    connections = "".join(
        _CONNECTION.format(side=side + suffix, port=databases.server(side).port, database=databases.model.name)
        for side in SIDES for suffix in ("", OPEN))
    masks = "".join(_mask(mask) for mask in databases.model.masks)
    return _HEAD + _braced(connections + _POLICIES + masks)


@contextmanager
def gateway_harness(databases: Databases, folder: Path) -> Iterator[tuple[Harness, Harness]]:
    """Harnesses whose sessions go through a gateway: under the masks, and without any, which must find everything."""
    password = databases.server("one").password
    with (issuer(folder / "issuer") as tokens,
          gateway(folder / "gateway", configuration(databases), env={"SIDES_PASSWORD": password},
                  issuer=tokens.url) as running):
        token = tokens.token("agent-1", "agents", agent="analyst", model="test-model", lifetime="3600")
        known = databases.catalogue.by_oid
        masked = Harness(databases, lambda side: Through(running, token, side, known))
        bare = Harness(databases, lambda side: Through(running, token, side + OPEN, known))
        yield masked, bare
        masked.close()
        bare.close()


class Through:
    """A session through the gateway. Satisfies `harness.Session`. `known`: OIDs of the model's own relations."""

    def __init__(self, running: Gateway, token: str, side: str, known: Container[int]) -> None:
        self._port = running.port
        self._known = known
        self._token = token
        self._side = side
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._is_used = False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.sendall(b"X\0\0\0\4")
            self._socket.close()
            self._socket = None

    def reset(self) -> None:
        """Rolls back; a session that may have kept something ends."""
        if self._is_used:
            self.close()
        else:
            self.run("rollback")

    def begin(self, *, is_transaction: bool) -> None:
        """Same random numbers on every side; with `is_transaction`, inside a new transaction."""
        if self._socket is None:
            self._log_in()
        if is_transaction:
            self.run("begin")
        self.run("select pg_catalog.setseed(0.25)")
        self._is_used = not is_transaction

    def run(self, text: str, parameters: tuple[str | None, ...] = (), *, binary: bool = False) -> Outcome:
        """Sends it as a simple query, or in the extended protocol where that is asked for."""
        if parameters or binary:
            self._send(_extended(text, parameters, binary=binary))
        else:
            self._send(_message(b"Q", text.encode() + b"\0"))
        self._is_used = self._is_used or _KEEPS.search(text) is not None
        outcome = Outcome(text=text)
        for kind, body in self._answers():
            self._take(outcome, kind, body)
        errors = [message for message in outcome.messages if message.kind == "E"]
        if errors and outcome.state in _REFUSALS and not outcome.tags:
            outcome.refusal = dict(_lettered(errors[0].cells)).get("M", outcome.state)
        return outcome

    # ---------------------------------------------------------------- messages

    def _take(self, outcome: Outcome, kind: str, body: bytes) -> None:
        cells: tuple[bytes | None, ...] = (body,)
        if kind == "D":
            cells = _row(body)
        elif kind == "T":
            cells = _described(body, self._known)
        elif kind in "EN":
            cells = tuple(body.split(b"\0")[:-2])
            if kind == "E":
                fields = dict(_lettered(cells))
                outcome.state, outcome.constraint = fields.get("C", "XX000"), fields.get("n", "")
        elif kind == "C":
            outcome.tags.append(body[:-1].decode())
        elif kind == "A":
            cells = (body[4:],)         # whose process it was is chance
        elif kind == "G":
            self._send(_message(b"f", b"the harness sends no data\0"))
        outcome.messages.append(Message(kind, cells))

    def _answers(self) -> Iterator[tuple[str, bytes]]:
        """Messages up to ReadyForQuery, that one included."""
        while True:
            kind, body = self._receive()
            yield kind, body
            if kind == "Z":
                return

    def _log_in(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT)
        self._buffer = b""
        words = b"user\0agent\0database\0" + self._side.encode() + b"\0\0"
        self._socket.sendall(struct.pack("!ii", len(words) + 8, _PROTOCOL) + words)
        while True:
            kind, body = self._receive()
            if kind == "R" and body[:4] == struct.pack("!i", 3):         # AuthenticationCleartextPassword
                self._send(_message(b"p", self._token.encode() + b"\0"))
            elif kind == "E":
                raise ConnectionError(body.decode("utf-8", "replace"))
            elif kind == "Z":
                return

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)

    def _receive(self) -> tuple[str, bytes]:
        assert self._socket is not None
        while len(self._buffer) < 5 or len(self._buffer) < 1 + struct.unpack_from("!i", self._buffer, 1)[0]:
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionError(f"the gateway ended the session of {self._side}")
            self._buffer += data
        end = 1 + struct.unpack_from("!i", self._buffer, 1)[0]
        kind, body = chr(self._buffer[0]), self._buffer[5:end]
        self._buffer = self._buffer[end:]
        return kind, body


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _extended(text: str, parameters: tuple[str | None, ...], *, binary: bool) -> bytes:
    """Parse, Bind, Describe, Execute and Sync in one piece."""
    values = b"".join(
        b"\xff\xff\xff\xff" if value is None else struct.pack("!i", len(value.encode())) + value.encode()
        for value in parameters)
    bind = b"\0\0" + struct.pack("!hh", 0, len(parameters)) + values + struct.pack("!hh", 1, int(binary))
    return (_message(b"P", b"\0" + text.encode() + b"\0\0\0") + _message(b"B", bind) + _message(b"D", b"P\0")
            + _message(b"E", b"\0" + bytes(4)) + _message(b"S", b""))


def _row(body: bytes) -> tuple[bytes | None, ...]:
    (count,) = struct.unpack_from("!h", body)
    cells: list[bytes | None] = []
    position = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, position)
        position += 4
        cells.append(None if length < 0 else body[position:position + length])
        position += max(length, 0)
    return tuple(cells)


def _described(body: bytes, known: Container[int]) -> tuple[bytes | None, ...]:
    """Name and numbers of every column; the number of a relation that was made just now is chance."""
    (count,) = struct.unpack_from("!h", body)
    cells: list[bytes | None] = []
    position = 2
    for _ in range(count):
        end = body.index(b"\0", position)
        table, *rest = struct.unpack_from("!ihihih", body, end + 1)
        if table >= _FIRST_USER_OID and table not in known:
            table = _FIRST_USER_OID
        cells += [body[position:end], repr((table, *rest)).encode()]
        position = end + 19
    return tuple(cells)


def _lettered(cells: tuple[bytes | None, ...]) -> Iterator[tuple[str, str]]:
    """The fields of an error or notice."""
    for cell in cells:
        if cell:
            yield chr(cell[0]), cell[1:].decode("utf-8", "replace")

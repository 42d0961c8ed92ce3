"""A PostgreSQL client that keeps every message: log-in, statements of the test itself, shots.

Apart from the mediator's side of this folder because it trusts nothing that it reads: what comes back is
evidence. A client library would hide just the messages that matter (notices, parameters, results that nobody
asked for). How a shot is fired is `ways`; what it may ask for is bounded by the line's deadline and `MOST`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final

from lockgate.errors import BackendError, RemoteProtocolError
from lockgate.kernel.frames import frame, split_frames
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.leaktest.transcript import Transcript
from lockgate.protocols.postgres.scram import ScramClient
from lockgate.wire.leaktest import Delivery, Inside, Line, LineTimeout, Login, NotAdmitted, Shot

MOST: Final = 8 << 20
"""Bytes that one shot may bring back; a canary that has not come by then was not asked for."""
OWN_SECONDS: Final = 60.0
"""For a statement of the test itself: to make and to drop the ground."""
_LONGEST: Final = 64 << 20
_BEGIN: Final = {Inside.BLOCK: "BEGIN", Inside.READ_ONLY: "BEGIN READ ONLY"}
_MAKES: Final = re.compile(r"\b(?:CREATE|ALTER|INTO|DECLARE|SET ROLE)\b", re.IGNORECASE)
_AUTHORIZATION: Final = "28"           # SQLSTATE class "Invalid Authorization Specification"
_HARMLESS: Final = ("SELECT ", "VALUES ")
COPY_FAIL: Final = frame(m.COPY_FAIL, b"the leak test sends no rows\0")
"""What ends a COPY from the client. In the extended protocol a Sync that went before it is ignored (section 54.2.6)."""


class Ended(Exception):
    """The peer ended the conversation, or it has to be ended; `args[0]` says why, in one word."""


class Client:
    """One session. Unusable after anything but a whole answer."""

    def __init__(self, line: Line, opening: Sequence[str] = ()) -> None:
        self.line = line
        self.status = m.IDLE
        self.transcript = Transcript()
        self.is_usable = True
        self.opening = tuple(opening)
        self._buffer = b""
        self._frames: list[tuple[int, int, int]] = []
        self._position = 0

    # ---------------------------------------------------------------- bytes

    def send(self, *frames: bytes) -> None:
        """Send frames as they are."""
        self.line.send(b"".join(frames))

    def message(self) -> tuple[int, bytes]:
        """The next message, which goes into the transcript. Raises `Ended`."""
        while not self._frames:
            rest = self._buffer[self._position:]
            found, _ = split_frames(rest, 0, _LONGEST)
            if not found:
                data = self.line.receive()
                if not data:
                    raise Ended("closed")
                rest += data
                found, _ = split_frames(rest, 0, _LONGEST)
            self._buffer, self._position, self._frames = rest, 0, found[::-1]
            if len(rest) > MOST:
                raise Ended("too much")
        kind, start, end = self._frames.pop()
        self._position = end
        body = self._buffer[start + 5:end]
        self.transcript.add(kind, body)
        if self.transcript.is_held:
            raise Ended("held")
        if self.transcript.size > MOST:
            raise Ended("too much")
        return kind, body

    def until(self, *kinds: int, decline: bytes = COPY_FAIL) -> int:
        """Read until a message of one of these types. A COPY from the client is answered with `decline`."""
        while True:
            kind, body = self.message()
            if kind == m.READY:
                self.status = body[0] if body else m.IDLE
            if kind == m.COPY_IN_RESPONSE:
                self.send(decline)
            if kind == m.COPY_BOTH_RESPONSE:
                raise Ended("closed")
            if kind in kinds:
                return kind

    def ask(self, statement: str) -> None:
        """One simple query to its end."""
        self.send(codec.query(statement))
        self.until(m.READY)

    # ---------------------------------------------------------------- log-in

    def log_in(self, login: Login) -> None:
        """TLS, start-up, authentication. Raises `BackendError` with the server's own words."""
        try:
            if login.tls != "disable":
                self._start_tls(login)
            self.line.send(codec.startup(m.PROTOCOL_3_0, {
                "user": login.user, "database": login.database, "application_name": "lockgate leaktest",
                "client_encoding": "UTF8",
            }))
            self._authenticate(login)
            self.until(m.READY)
        except LineTimeout:
            raise BackendError("the server did not answer the log-in in time") from None
        except (Ended, RemoteProtocolError):
            raise BackendError("the server ended the log-in", advice="Is this a PostgreSQL port?") from None
        for statement in self.opening:
            self.run(statement)

    def _start_tls(self, login: Login) -> None:
        self.line.send(codec.request(m.SSL_REQUEST))
        answer = self.line.receive()
        if answer == b"S":
            self.line.start_tls((m.ALPN,))
        elif answer != b"N":
            raise Ended("closed")
        elif login.tls != "prefer":
            raise BackendError("the server does not offer TLS", advice="Add sslmode=disable for a server on loopback.")

    def _authenticate(self, login: Login) -> None:
        scram: ScramClient | None = None
        while True:
            kind, body = self.message()
            if kind == m.ERROR_RESPONSE:
                kind_of = BackendError if self.transcript.code[:2] == _AUTHORIZATION else NotAdmitted
                raise kind_of(f"the server refused the log-in: {self.transcript.reason}")
            if kind != m.AUTHENTICATION:
                continue
            code, data = int.from_bytes(body[:4], "big"), body[4:]
            if code == m.AUTH_OK:
                return
            if code == m.AUTH_CLEARTEXT:
                self._send_password(login, login.secret.reveal())
            elif code == m.AUTH_MD5:
                inner = hashlib.md5((login.secret.reveal() + login.user).encode(), usedforsecurity=False).hexdigest()
                self._send_password(login, "md5" + hashlib.md5(inner.encode() + data, usedforsecurity=False).hexdigest())
            elif code == m.AUTH_SASL:
                offered = [name.decode("ascii", "replace") for name in data.split(b"\0") if name]
                binding = self.line.end_point()
                scram = ScramClient(login.secret, offered, binding, is_tls=binding is not None)
                first = scram.first()
                self.send(frame(m.PASSWORD, codec.text(scram.mechanism) + len(first).to_bytes(4, "big") + first))
            elif code == m.AUTH_SASL_CONTINUE and scram is not None:
                self.send(frame(m.PASSWORD, scram.final(data)))
            elif code == m.AUTH_SASL_FINAL and scram is not None:
                scram.verify(data)
            else:
                raise BackendError("the server asks for an authentication that the leak test does not do")

    def _send_password(self, login: Login, answer: str) -> None:
        if not self.line.is_private:
            raise BackendError("the server asks for the secret without TLS", advice="Use sslmode=verify-full.")
        if not login.secret:
            raise BackendError("the server asks for a secret and none was given",
                               advice="Name a file or an environment variable that holds it.")
        self.send(frame(m.PASSWORD, codec.text(answer)))

    # ---------------------------------------------------------------- the test's own statements

    def run(self, statement: str) -> tuple[tuple[bytes | None, ...], ...]:
        """Rows of a statement. Raises `BackendError` with the server's words."""
        self.transcript = Transcript()
        self.line.within(OWN_SECONDS)
        try:
            self.ask(statement)
        except LineTimeout:
            self.is_usable = False
            raise BackendError("the server did not answer in time") from None
        except (Ended, BackendError, RemoteProtocolError):
            self.is_usable = False
            raise BackendError(f"the server ended the session: {self.transcript.reason or 'without a word'}") from None
        if self.transcript.code:
            raise BackendError(f"{self.transcript.reason} (SQLSTATE {self.transcript.code})")
        return tuple(self.transcript.rows)

    def cells(self, statement: str) -> frozenset[bytes]:
        """Every cell of the result, in text and in binary form."""
        found = [cell for row in self.run(statement) for cell in row if cell is not None]
        self.transcript = Transcript()
        self.send(codec.parse(b"", statement), codec.bind(codec.Bind(b"", b"", (), (), (1,))), codec.execute(b""), m.SYNC_FRAME)
        self.until(m.READY)
        return frozenset(found) | {cell for row in self.transcript.rows for cell in row if cell is not None}

    # ---------------------------------------------------------------- shots

    def fire(self, shot: Shot, fired: Callable[[Client, Shot], None], *, inside: Inside, seconds: float) -> Delivery:
        """Fire one shot with `fired`, then put the session back; all that is read is delivered."""
        self.transcript = transcript = Transcript()
        end = ""
        self.line.within(seconds)
        try:
            if inside is not Inside.NOTHING:
                self.ask(_BEGIN[inside])
            fired(self, shot)
            self._put_back(shot)
        except LineTimeout:
            end = "timeout"
        except Ended as ended:
            end = str(ended.args[0])
        except (BackendError, RemoteProtocolError):
            end = "closed"
        if end:
            self.is_usable = False
        if not self.is_usable:
            self.line.close()
        return Delivery(tuple(transcript.messages), tuple(transcript.finished_rows()), transcript.code,
                        transcript.reason, end)

    def _put_back(self, shot: Shot) -> None:
        """End the block, and forget what the shot left in the session. What cannot be put back is given up: a new session
        costs little, and a name that a gateway still takes for a temporary table would refuse all later shapes."""
        code, reason = self.transcript.code, self.transcript.reason
        if self.status != m.IDLE:
            self.ask("ROLLBACK")
        if any(_MAKES.search(statement) for statement in shot.statements):
            self.is_usable = False
        elif len(shot.statements) > 1 or shot.statements[0][:7].upper() not in _HARMLESS:
            for statement in ("DISCARD ALL", *self.opening):
                self.ask(statement)
            self.is_usable = self.transcript.code == code and self.status == m.IDLE
        self.transcript.code, self.transcript.reason = code, reason     # DISCARD is no part of the shot

    def close(self) -> None:
        """Say goodbye and let go."""
        if self.is_usable:
            try:
                self.line.send(m.TERMINATE_FRAME)
            except (BackendError, LineTimeout):
                pass
        self.is_usable = False
        self.line.close()

"""The client's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, for the gateway's own log-in.

Apart from `upstream` because it is a protocol of its own: RFC 5802 and RFC 7677, channel binding
`tls-server-end-point` by RFC 5929. Hostile servers: nonce, salt, message and iteration count are
bounded before any hashing (compare CVE-2026-6664), and the server must prove that it knows the
password too before the log-in counts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from typing import Final

from lockgate.errors import BackendError
from lockgate.model import Secret

PLAIN: Final = "SCRAM-SHA-256"
PLUS: Final = "SCRAM-SHA-256-PLUS"
_MAX_ITERATIONS: Final = 600_000         # about 0.3 s; the server's default is 4,096
_MIN_ITERATIONS: Final = 4_096           # RFC 7677 section 4
_MAX_MESSAGE: Final = 2_048
_MAX_NONCE: Final = 512


class ScramClient:
    """One exchange. `first()`, then `final(server-first)`, then `verify(server-final)`."""

    __slots__ = ("_bare", "_binding", "_gs2", "_nonce", "_password", "_signature", "_state", "mechanism")

    def __init__(
        self, password: Secret, offered: list[str], end_point: bytes | None, *, is_tls: bool, nonce: str = "",
        user: str = "",
    ) -> None:
        """Raises `BackendError` where the server offers no mechanism that may be used here.

        `user` is empty towards PostgreSQL, which takes the name from the start-up message.
        """
        self._password = password
        self._binding = b""
        if PLUS in offered and is_tls and end_point is not None:
            self.mechanism, self._gs2, self._binding = PLUS, "p=tls-server-end-point,,", end_point
        elif PLAIN in offered:
            # `y`: this side could have bound the channel and the server did not offer it. A server
            # that did offer it then knows that somebody changed its list (RFC 5802 section 6).
            could_bind = is_tls and end_point is not None
            self.mechanism, self._gs2 = PLAIN, "y,," if could_bind else "n,,"
        else:
            raise BackendError("the backend offers no SASL mechanism that the gateway knows")
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode("ascii")
        self._bare = f"n={user},r={self._nonce}"
        self._signature = b""
        self._state = 0

    def first(self) -> bytes:
        """client-first-message."""
        self._step(0)
        return (self._gs2 + self._bare).encode("ascii")

    def final(self, server_first: bytes) -> bytes:
        """client-final-message. Raises `BackendError` for what is hostile or malformed."""
        self._step(1)
        nonce, salt, iterations = self._read_first(server_first)
        salted = hashlib.pbkdf2_hmac("sha256", prepared(self._password.reveal()), salt, iterations)
        binding = base64.b64encode(self._gs2.encode("ascii") + self._binding).decode("ascii")
        without_proof = f"c={binding},r={nonce}"
        signed = b",".join((self._bare.encode("ascii"), server_first, without_proof.encode("ascii")))
        client_key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode('ascii')}".encode("ascii")

    def verify(self, server_final: bytes) -> None:
        """Raises `BackendError` unless the server knows the password too."""
        self._step(2)
        if len(server_final) > _MAX_MESSAGE or not server_final.startswith(b"v="):
            raise BackendError("the backend refused the SCRAM exchange")
        if not hmac.compare_digest(_decode(server_final[2:]), self._signature):
            raise BackendError("the backend could not prove that it knows the password")

    def _step(self, expected: int) -> None:
        if self._state != expected:
            raise BackendError("the SCRAM exchange is out of order")
        self._state += 1

    def _read_first(self, message: bytes) -> tuple[str, bytes, int]:
        if len(message) > _MAX_MESSAGE:
            raise BackendError("the backend's SCRAM message is too long")
        try:
            parts = message.decode("ascii").split(",")
        except UnicodeDecodeError:
            raise BackendError("the backend's SCRAM message is malformed") from None
        if len(parts) < 3 or [part[:2] for part in parts[:3]] != ["r=", "s=", "i="]:
            raise BackendError("the backend's SCRAM message is malformed")
        nonce, salt, count = parts[0][2:], _decode(parts[1][2:].encode("ascii")), parts[2][2:]
        if not nonce.startswith(self._nonce) or len(nonce) <= len(self._nonce) or len(nonce) > _MAX_NONCE:
            raise BackendError("the backend's SCRAM nonce does not continue ours")
        if not (count.isascii() and count.isdigit()) or len(count) > 7:
            raise BackendError("the backend's SCRAM iteration count is malformed")
        if not _MIN_ITERATIONS <= int(count) <= _MAX_ITERATIONS:
            raise BackendError(
                f"the backend's SCRAM iteration count {int(count)} is outside "
                f"{_MIN_ITERATIONS}..{_MAX_ITERATIONS}"
            )
        if not salt:
            raise BackendError("the backend's SCRAM salt is empty")
        return nonce, salt, int(count)


def prepared(password: str) -> bytes:
    """SASLprep (RFC 4013); a password that it does not allow is used as it is, as PostgreSQL does."""
    if password.isascii():
        return password.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    tables = (
        stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
        stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7,
        stringprep.in_table_c8, stringprep.in_table_c9,
    )
    is_forbidden = not normal or any(table(c) for c in normal for table in tables)
    if any(stringprep.in_table_d1(c) for c in normal):
        is_forbidden = (
            is_forbidden or any(stringprep.in_table_d2(c) for c in normal)
            or not (stringprep.in_table_d1(normal[0]) and stringprep.in_table_d1(normal[-1]))
        )
    return (password if is_forbidden else normal).encode()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BackendError("the backend's SCRAM message is malformed") from None

"""AWS Signature Version 4: a request signed with the connection's key, at the last moment.

Source: AWS, "Create a signed AWS API request" (IAM User Guide) and "Authenticating Requests (AWS Signature Version 4)"
(Amazon S3 API Reference). What is signed is read from the very lines that are sent.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from lockgate.errors import ConfigError
from lockgate.model import Secret
from lockgate.protocols.http.messages import Field, Fields

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""In place of the content's hash, where the service takes content that is not signed."""
CARRIERS: Final = frozenset((b"x-amz-date", b"x-amz-content-sha256", b"x-amz-security-token"))
"""The fields besides `Authorization` that belong to a signature."""
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7f)))
_SIGNED: Final = frozenset((b"host", b"content-type"))


@dataclass(frozen=True, slots=True)
class Key:
    """An access key, and what it is used for."""

    user: str
    secret: Secret
    region: str
    service: str


def signature(
    key: Key, method: bytes, target: bytes, lines: bytes, content: bytes | None, now: float, session: Secret | None = None,
) -> Fields:
    """The fields that sign a request of these field lines at `now` (Unix seconds). `content` None: it is not signed.
    `ConfigError` where the key or `session` cannot stand in a field."""
    for text in (key.user, session.reveal() if session is not None else ""):
        if not _VISIBLE.issuperset(text):
            raise ConfigError("the backend's access key or session token holds characters that no header can hold")
    digest = UNSIGNED if content is None else hashlib.sha256(content).hexdigest()
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    own = [Field.of(b"X-Amz-Date", stamp.encode()), Field.of(b"X-Amz-Content-Sha256", digest.encode())]
    if session is not None:
        own.append(Field.of(b"X-Amz-Security-Token", session.reveal().encode()))
    signed = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n") if line)
              if name.lower() in _SIGNED or name.lower().startswith(b"x-amz-")]
    signed += [(field.name, field.value) for field in own]
    return Field.of(b"Authorization", authorization(key, method, target, signed, digest, stamp)), *own


def authorization(
    key: Key, method: bytes, target: bytes, fields: Sequence[tuple[bytes, bytes]], digest: str, stamp: str
) -> bytes:
    """The value of `Authorization` over all of `fields` (lower-case name, value). `stamp` is that of `x-amz-date`."""
    path, _, query = target.partition(b"?")
    names = ";".join(sorted({name.decode("ascii") for name, _ in fields}))
    request = b"\n".join((
        method, _path(path, key.service), _query(query), _lines(fields), names.encode(), digest.encode()))
    scope = f"{stamp[:8]}/{key.region}/{key.service}/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request).hexdigest()}"
    made = ("AWS4" + key.secret.reveal()).encode()
    for part in (*scope.split("/"), text):
        made = hmac.digest(made, part.encode(), "sha256")
    return f"{_ALGORITHM} Credential={key.user}/{scope}, SignedHeaders={names}, Signature={made.hex()}".encode("ascii")


def _path(path: bytes, service: str) -> bytes:
    """Encoded once for S3, and twice for all others: what is sent is encoded already."""
    return quote(unquote_to_bytes(path) if service == "s3" else path, safe="/~").encode()


def _query(query: bytes) -> bytes:
    """Each name and value encoded in the one way, in the order of both."""
    pairs = [one.partition(b"=") for one in query.split(b"&") if one]
    return "&".join("=".join(pair) for pair in sorted((_once(name), _once(value)) for name, _, value in pairs)).encode()


def _once(text: bytes) -> str:
    return quote(unquote_to_bytes(text.replace(b"+", b"%20")), safe="~")


def _lines(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """`name:value` and a line feed each, by name; values of one name joined in their order, runs of spaces as one."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(b" ".join(value.split()))
    return b"".join(b"%b:%b\n" % (name, b",".join(found[name])) for name in sorted(found))

"""OAUTHBEARER, the server's part: a token as a SASL response instead of a password (RFC 7628).

Apart from `login` because it is pure: bytes of the client → its token. PostgreSQL 18's clients know it
(manual, section 20.15). A server has to choose one way of authentication before it knows the client, so
this one is chosen by the client itself: `options=-c lockgate.auth=oauthbearer`; all others are asked
for the token as a password. There is no channel binding in it (RFC 7628, section 3).
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import frame
from lockgate.model import Secret
from lockgate.protocols.postgres import messages as m

MECHANISM: Final = "OAUTHBEARER"
CHOICE: Final = "oauthbearer"
ASK: Final = frame(m.AUTHENTICATION, m.AUTH_SASL.to_bytes(4, "big") + b"OAUTHBEARER\0\0")
GO_ON: Final = frame(m.AUTHENTICATION, m.AUTH_SASL_CONTINUE.to_bytes(4, "big"))
FAILED: Final = frame(m.AUTHENTICATION, m.AUTH_SASL_CONTINUE.to_bytes(4, "big") + b'{"status":"invalid_token"}')
"""The error challenge (section 3.2.2); the client answers with one byte 0x01 and then reads the error."""
LAST_WORD: Final = b"\x01"

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z", re.ASCII)
_MOST_PAIRS: Final = 16


def read_choice(body: bytes) -> bytes | None:
    """The initial response inside a SASLInitialResponse; None where the client sends it afterwards."""
    name, nul, rest = body.partition(b"\0")
    if not nul or name != MECHANISM.encode() or len(rest) < 4:
        raise RemoteProtocolError("a SASL mechanism was chosen that was not offered")
    length = int.from_bytes(rest[:4], "big", signed=True)
    if length == -1 and len(rest) == 4:
        return None
    if length != len(rest) - 4:
        raise RemoteProtocolError("a SASL message does not add up")
    return rest[4:]


def read_response(data: bytes) -> Secret:
    """The token of a client's response; empty where it gives none (it asks where to get one)."""
    header, separator, rest = data.partition(b"\x01")
    if not separator or header not in (b"n,,", b"y,,"):
        raise RemoteProtocolError("an OAUTHBEARER response begins wrongly, binds a channel or names another user")
    if not rest.endswith(b"\x01\x01") and rest != b"\x01":
        raise RemoteProtocolError("an OAUTHBEARER response has no end")
    pairs = [pair.partition(b"=") for pair in rest[:-2].split(b"\x01")] if len(rest) > 1 else []
    if len(pairs) > _MOST_PAIRS or any(not key.isalpha() or not equals for key, equals, _ in pairs):
        raise RemoteProtocolError("an OAUTHBEARER response holds something else than keys and values")
    values = [value for key, _, value in pairs if key == b"auth"]
    if len(values) != 1:
        raise RemoteProtocolError("an OAUTHBEARER response holds no authorization, or two")
    scheme, _, token = values[0].decode("ascii", "replace").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or _TOKEN.match(token) is None:
        return Secret("")
    return Secret(token)

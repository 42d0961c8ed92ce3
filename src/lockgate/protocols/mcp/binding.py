"""Sessions of MCP belong to who began them.

A server sees one credential for everybody who comes through the gateway, so it cannot tell whose a session is: whoever
knew another's `Mcp-Session-Id` could read and drive it. The gateway therefore signs the id for its caller, its connection
and the path that gave it, and takes it back from nobody else and nowhere else: DELETE ends a session there, and would delete
something on another path of the server's host. Nothing is remembered, so it holds over restarts.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from lockgate.govern.masking.keys import MaskKeys
from lockgate.model import Identity

FIELD: Final = b"mcp-session-id"
_PURPOSE: Final = "sessions of backends"
_SIGNED: Final = 24                 # characters: 18 bytes in base64url


def bound(session: bytes, keys: MaskKeys | None, identity: Identity, connection: str, path: str) -> bytes:
    """The id that a client gets for the server's."""
    return session if keys is None else session + b"." + _signature(session, keys, identity, connection, path)


def unbound(given: bytes, keys: MaskKeys | None, identity: Identity, connection: str, path: str) -> bytes | None:
    """The server's id, None where the given one is not this caller's."""
    if keys is None:
        return given
    session, _, signature = given.rpartition(b".")
    is_own = hmac.compare_digest(signature, _signature(session, keys, identity, connection, path))
    return session if is_own else None


def _signature(session: bytes, keys: MaskKeys, identity: Identity, connection: str, path: str) -> bytes:
    parts = [part.encode("utf-8", "surrogatepass")
             for part in (identity.issuer, identity.subject, identity.agent or "", connection, path)]
    signed = b"".join([len(part).to_bytes(8, "big") + part for part in parts]) + session
    return base64.urlsafe_b64encode(hmac.digest(keys.of_gateway(_PURPOSE), signed, "sha256"))[:_SIGNED]

"""What passes between a log and its signer over a Unix socket: one JSON line there, one back, then closed.

{"v":1,"do":"last","origin":…}                                     → {"vkey":…, "size":…, "root":hex, "next":… or null}
{"v":1,"do":"sign","origin":…,"size":…,"root":hex,"proof":[hex…]} → {"note":…}
{"v":1,"do":"prepare","origin":…}                                  → {"vkey":…}, of the next key
{"v":1,"do":"switch","origin":…,"leaf":hex,"path":[hex…]}         → {"vkey":…}, of the key that goes on
anything that is not done                                          → {"refused":…}
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson

from lockgate.audit.checkpoint import Checkpoint
from lockgate.audit.entry import LEAF_LIMIT
from lockgate.audit.signing.contract import SignerRefused

LIMIT: Final = 16_384
"""Bytes of one line: a proof of 63 hashes takes a third of it."""
_PROOF: Final = 63
_LARGEST: Final = 2**63 - 1


def receive_line(connection: socket.socket) -> dict[str, Any]:
    """The other end's line, within the socket's time limit for all of it. Raises OSError where it is cut short or
    late, ValueError where it is none.
    """
    found = bytearray()
    limit = connection.gettimeout()
    end = None if limit is None else time.monotonic() + limit
    while not found.endswith(b"\n"):
        if end is not None:
            connection.settimeout(max(end - time.monotonic(), 0.001))
        more = connection.recv(LIMIT)
        if not more:
            raise ConnectionError("the other end closed")
        found += more
        if len(found) > LIMIT:
            raise ValueError("the line is too long")
    value = orjson.loads(found)
    if type(value) is not dict:
        raise ValueError("the line is no object")
    return value


def send_line(connection: socket.socket, value: dict[str, Any]) -> None:
    """Send one line. Raises OSError."""
    connection.sendall(orjson.dumps(value) + b"\n")


def sign_request(checkpoint: Checkpoint, proof: Sequence[bytes]) -> dict[str, Any]:
    """The request for a signature."""
    return {"v": 1, "do": "sign", "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
            "proof": [node.hex() for node in proof]}


def read_sign_request(value: dict[str, Any], origin: str) -> tuple[Checkpoint, list[bytes]]:
    """The checkpoint and proof of a request. Raises `SignerRefused` for anything else."""
    size, proof = value.get("size"), value.get("proof")
    if type(size) is not int or not 0 <= size <= _LARGEST or type(proof) is not list or len(proof) > _PROOF:
        raise SignerRefused("the request is malformed")
    return Checkpoint(origin, size, read_hash(value.get("root"))), [read_hash(node) for node in proof]


def read_switch_request(value: dict[str, Any]) -> tuple[bytes, list[bytes]]:
    """The leaf of a change of keys and its audit path. Raises `SignerRefused` for anything else."""
    leaf, path = value.get("leaf"), value.get("path")
    if type(leaf) is not str or len(leaf) > 2 * LEAF_LIMIT or type(path) is not list or len(path) > _PROOF:
        raise SignerRefused("the request is malformed")
    try:
        return bytes.fromhex(leaf), [read_hash(node) for node in path]
    except ValueError:
        raise SignerRefused("the request is malformed") from None


def read_hash(value: object) -> bytes:
    """32 bytes in hex. Raises `SignerRefused`."""
    try:
        found = bytes.fromhex(value) if type(value) is str and len(value) == 64 else b""
    except ValueError:
        found = b""
    if len(found) != 32:
        raise SignerRefused("a hash is malformed")
    return found

"""The thinnest PostgreSQL client: what it reads it only counts, so that it is never what limits."""

from __future__ import annotations

import socket
import struct
import time

_READY = b"Z\0\0\0\x05"


def connect(port: int, *, user: str, database: str, password: str = "") -> socket.socket:
    """Log in without TLS; answers a cleartext password request. Returns a ready socket."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    body = f"user\0{user}\0database\0{database}\0\0".encode()
    raw.sendall(struct.pack(">II", len(body) + 8, 196608) + body)
    data = b""
    asked = False
    while data[-6:-1] != _READY:
        piece = raw.recv(65536)
        if not piece or data[:1] == b"E":
            raise ConnectionError(data)
        data += piece
        if not asked and data[:9] == b"R\0\0\0\x08\0\0\0\x03":
            asked = True
            secret = password.encode() + b"\0"
            raw.sendall(b"p" + struct.pack(">I", len(secret) + 4) + secret)
    return raw


def read_all(raw: socket.socket, statement: str) -> tuple[int, float]:
    """Run one simple query to its end. Returns (bytes received, seconds)."""
    body = statement.encode() + b"\0"
    started = time.perf_counter()
    raw.sendall(b"Q" + struct.pack(">I", len(body) + 4) + body)
    buffer = bytearray(4 << 20)
    total = 0
    tail = b""
    while True:
        count = raw.recv_into(buffer)
        if not count:
            raise ConnectionError("the connection ended in the middle of a result")
        total += count
        tail = (tail + bytes(buffer[max(0, count - 6):count]))[-6:]
        if tail[:5] == _READY:
            return total, time.perf_counter() - started


def refused(raw: socket.socket, statement: bytes) -> bytes:
    """Send one simple query that is answered by an error, and return the answer."""
    raw.sendall(b"Q" + struct.pack(">I", len(statement) + 5) + statement + b"\0")
    answer = b""
    while answer[-6:-1] != _READY:
        piece = raw.recv(65536)
        if not piece:
            raise ConnectionError(answer)
        answer += piece
    if answer[:1] != b"E":
        raise RuntimeError(answer[:200])
    return answer

"""The words of the wire protocol: message types, request codes, authentication codes, bounds.

Apart from `codec` because these are facts of the manual and nothing here does anything.
Source: PostgreSQL 18 manual, chapter 54 "Frontend/Backend Protocol" (54.7 "Message Formats").
"""

from __future__ import annotations

from typing import Final

# Requests that come before the start-up message: 32-bit codes without a type byte.
PROTOCOL_3_0: Final = 196_608            # 3 << 16
PROTOCOL_3_2: Final = 196_610
CANCEL_REQUEST: Final = 80_877_102
SSL_REQUEST: Final = 80_877_103
GSSENC_REQUEST: Final = 80_877_104
NEWEST_MINOR: Final = 2

MAX_STARTUP: Final = 10_000              # MAX_STARTUP_PACKET_LENGTH of the server
MAX_TOKEN: Final = 16_384
MAX_LOGIN_MESSAGE: Final = 65_536        # what a backend may send in one message while logging in
TLS_HANDSHAKE: Final = 0x16              # first byte of a TLS record that starts a handshake
ALPN: Final = "postgresql"

# Client messages.
QUERY: Final = ord("Q")
PARSE: Final = ord("P")
BIND: Final = ord("B")
EXECUTE: Final = ord("E")
DESCRIBE: Final = ord("D")
CLOSE: Final = ord("C")
SYNC: Final = ord("S")
FLUSH: Final = ord("H")
TERMINATE: Final = ord("X")
COPY_DATA: Final = ord("d")              # both directions
COPY_DONE: Final = ord("c")              # both directions
COPY_FAIL: Final = ord("f")
FUNCTION_CALL: Final = ord("F")
PASSWORD: Final = ord("p")               # also SASL responses

# Backend messages.
AUTHENTICATION: Final = ord("R")
BACKEND_KEY_DATA: Final = ord("K")
BIND_COMPLETE: Final = ord("2")
CLOSE_COMPLETE: Final = ord("3")
COMMAND_COMPLETE: Final = ord("C")
COPY_IN_RESPONSE: Final = ord("G")
COPY_OUT_RESPONSE: Final = ord("H")
COPY_BOTH_RESPONSE: Final = ord("W")
DATA_ROW: Final = ord("D")
EMPTY_QUERY: Final = ord("I")
ERROR_RESPONSE: Final = ord("E")
FUNCTION_CALL_RESPONSE: Final = ord("V")
NEGOTIATE_VERSION: Final = ord("v")
NO_DATA: Final = ord("n")
NOTICE_RESPONSE: Final = ord("N")
NOTIFICATION: Final = ord("A")
PARAMETER_DESCRIPTION: Final = ord("t")
PARAMETER_STATUS: Final = ord("S")
PARSE_COMPLETE: Final = ord("1")
PORTAL_SUSPENDED: Final = ord("s")
READY: Final = ord("Z")
ROW_DESCRIPTION: Final = ord("T")

# Transaction status in ReadyForQuery.
IDLE: Final = ord("I")
IN_BLOCK: Final = ord("T")
FAILED_BLOCK: Final = ord("E")

# AuthenticationRequest codes.
AUTH_OK: Final = 0
AUTH_CLEARTEXT: Final = 3
AUTH_MD5: Final = 5
AUTH_SASL: Final = 10
AUTH_SASL_CONTINUE: Final = 11
AUTH_SASL_FINAL: Final = 12

# Messages that never differ.
SYNC_FRAME: Final = b"S\x00\x00\x00\x04"
FLUSH_FRAME: Final = b"H\0\0\0\4"
TERMINATE_FRAME: Final = b"X\x00\x00\x00\x04"
AUTHENTICATION_OK: Final = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
ASK_PASSWORD: Final = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
NO_DATA_FRAME: Final = b"n\x00\x00\x00\x04"

REPORTED: Final = frozenset({
    "server_version", "server_encoding", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone",
    "integer_datetimes", "standard_conforming_strings", "is_superuser", "in_hot_standby",
    "default_transaction_read_only", "scram_iterations", "search_path",
})
"""ParameterStatus names that go on to a client. `application_name` and `session_authorization` are
answered by the gateway; any other (an extension's) could carry a value and stays here."""

PINNED: Final = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
"""What statement analysis depends on: a session in which one of these changes is ended."""

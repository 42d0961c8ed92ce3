"""OAUTHBEARER: the token as a SASL response, for clients that ask for it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import frame
from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.postgres.mediator import PostgresMediator
from lockgate.protocols.postgres.oauth import FAILED, read_choice, read_response
from tests.protocols.postgres import support as s
from tests.protocols.postgres.test_login import GREETING, SSL, TOKEN, Scene, startup

CHOSEN = {"user": "me", "database": "crm", "options": "-c lockgate.auth=oauthbearer"}
GOOD = b"n,,\x01auth=Bearer " + TOKEN.encode() + b"\x01\x01"


def initial(data: bytes | None, mechanism: bytes = b"OAUTHBEARER") -> bytes:
    length = struct.pack("!i", -1 if data is None else len(data))
    return frame(ord("p"), mechanism + b"\0" + length + (data or b""))


def begun(**more: object) -> Scene:
    scene = Scene(**more).client(SSL).client(startup(**CHOSEN))  # type: ignore[arg-type]
    assert s.messages(scene.to_client[1:]) == [("R", struct.pack("!I", 10) + b"OAUTHBEARER\0\0")]
    return scene


def test_the_token_in_the_initial_response_is_the_log_in() -> None:
    """One round: the token is verified as a password would be, and the session opens."""
    scene = begun().client(initial(GOOD)).server(GREETING)
    assert scene.tokens == [TOKEN]
    assert isinstance(scene.mediator, PostgresMediator)
    assert TOKEN.encode() not in scene.to_server


def test_the_token_may_come_after_an_empty_initial_response() -> None:
    """A client may choose first and answer then."""
    scene = begun().client(initial(None)).client(frame(ord("p"), GOOD)).server(GREETING)
    assert scene.tokens == [TOKEN]
    assert isinstance(scene.mediator, PostgresMediator)


@pytest.mark.parametrize("response", [
    b"n,,\x01auth=\x01\x01", b"n,,\x01auth=Basic dXNlcg==\x01\x01", b"n,,\x01auth=Bearer \xc3\xa4\x01\x01",
    b"n,,\x01auth=Bearer a b\x01\x01",
])
def test_without_a_token_the_exchange_fails_in_order(response: bytes) -> None:
    """RFC 7628: an error challenge, the client's last byte, then the error; nothing is verified."""
    scene = begun().client(initial(response))
    assert scene.to_client.endswith(FAILED)
    scene.client(frame(ord("p"), b"\x01"))
    assert scene.error()["C"] == "28P01"
    assert scene.tokens == []
    assert scene.play.is_closed


def test_a_refused_token_fails_in_order() -> None:
    """A token that is not accepted gets the same challenge, then the reason."""
    refused = Refusal(RefusalCode.UNAUTHENTICATED, "not a token of ours (token.issuer)")
    scene = begun(identity=refused).client(initial(GOOD))
    assert scene.to_client.endswith(FAILED)
    scene.client(frame(ord("p"), b"\x01"))
    assert "token.issuer" in scene.error()["M"]
    assert TOKEN not in str(scene.error())


@pytest.mark.parametrize("message", [
    initial(GOOD, b"SCRAM-SHA-256"), frame(ord("p"), b"OAUTHBEARER"), frame(ord("p"), b"OAUTHBEARER\0\0\0\0\xffx"),
    initial(b"p=tls-exporter,,\x01auth=Bearer x\x01\x01"), initial(b"n,a=admin,\x01auth=Bearer x\x01\x01"),
    initial(b"n,,\x01auth=Bearer x"), initial(b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01"), initial(b"n,,\x01\x01"),
    initial(b"n,,\x01a\x01\x01"), initial(b""), frame(ord("Q"), b"select 1\0"),
])
def test_what_is_no_proper_response_is_refused(message: bytes) -> None:
    """Another mechanism, a channel binding, another user, two tokens, a wrong length: 08P01, nothing verified."""
    scene = begun().client(message)
    assert scene.error()["C"] == "08P01"
    assert scene.tokens == []


def test_without_tls_nothing_is_asked() -> None:
    """A token is accepted over TLS only, however it comes."""
    scene = Scene(loopback=False).client(startup(**CHOSEN))
    assert scene.error()["C"] == "28000"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_token_or_an_error(data: bytes) -> None:
    """The readers end in a value or in RemoteProtocolError, whatever comes."""
    for read in (read_choice, read_response):
        try:
            read(data)
        except RemoteProtocolError:
            continue

"""SCRAM-SHA-256 against RFC 7677's exchange, and hostile servers."""

from __future__ import annotations

import base64

import pytest

from lockgate.errors import BackendError
from lockgate.model import Secret
from lockgate.protocols.postgres.scram import PLAIN, PLUS, ScramClient, prepared

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def client(**more: object) -> ScramClient:
    return ScramClient(Secret("pencil"), [PLAIN], None, is_tls=False, nonce=NONCE, user="user", **more)  # type: ignore[arg-type]


def test_rfc_7677_section_3() -> None:
    """Every message of the RFC's example exchange is produced and its end accepted."""
    scram = client()
    assert scram.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert scram.final(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    scram.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize("final", [b"v=AAAA", b"e=invalid-proof", b"", b"v=" + b"A" * 4000, b"v=%%%"])
def test_a_server_that_cannot_prove_itself_is_refused(final: bytes) -> None:
    """The server has to know the password too."""
    scram = client()
    scram.first()
    scram.final(SERVER_FIRST)
    with pytest.raises(BackendError):
        scram.verify(final)


@pytest.mark.parametrize("first", [
    b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999",
    b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2147483647",
    b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
    b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
    b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
    b"r=rOprNGfwEbeRWgbNEkqOx,s=%%,i=4096",
    b"r=rOprNGfwEbeRWgbNEkqO" + b"x" * 600 + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"", b",,,", b"\xff" * 40, b"r=" + b"x" * 5000,
])
def test_hostile_first_messages_are_refused(first: bytes) -> None:
    """Nonce, salt, length and iteration count are bounded before anything is hashed."""
    scram = client()
    scram.first()
    with pytest.raises(BackendError):
        scram.final(first)


def test_channel_binding_is_used_where_offered_over_tls() -> None:
    """PLUS carries the certificate's hash, so a TLS in the middle does not pass."""
    scram = ScramClient(Secret("p"), [PLUS, PLAIN], b"\x01" * 32, is_tls=True, nonce=NONCE)
    assert scram.mechanism == PLUS
    assert scram.first().startswith(b"p=tls-server-end-point,,")
    assert base64.b64encode(b"p=tls-server-end-point,," + b"\x01" * 32) in scram.final(SERVER_FIRST)


def test_a_stripped_list_is_visible_to_the_server() -> None:
    """Over TLS without an offer of PLUS the flag is `y`: a server that offered it sees the downgrade."""
    scram = ScramClient(Secret("p"), [PLAIN], b"\x01" * 32, is_tls=True, nonce=NONCE)
    assert (scram.mechanism, scram.first()[:3]) == (PLAIN, b"y,,")


def test_plus_is_never_used_without_tls() -> None:
    """Without TLS there is no channel to bind."""
    with pytest.raises(BackendError):
        ScramClient(Secret("p"), [PLUS], None, is_tls=False)


def test_the_exchange_has_one_order() -> None:
    """A step out of order or twice is refused."""
    scram = client()
    with pytest.raises(BackendError):
        scram.final(SERVER_FIRST)


@pytest.mark.parametrize(("password", "expected"), [
    ("pencil", b"pencil"), ("I\u00adX", b"IX"), ("\u00aa", b"a"), ("\u2168", b"IX"), ("a\u00a0b", b"a b"),
    ("\u0007\u00fc", "\u0007\u00fc".encode()), ("\u06271", "\u06271".encode()),
])
def test_saslprep(password: str, expected: bytes) -> None:
    """RFC 4013's examples; what it forbids is used as it is, as PostgreSQL does."""
    assert prepared(password) == expected

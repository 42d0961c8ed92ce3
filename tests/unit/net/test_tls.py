"""TLS without a socket: two streams talk to each other through bytes alone."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.govern.identity import CertificateRules
from lockgate.net.tls import ServerCertificate, TlsError, TlsStream, client_context, server_end_point
from testbed.certificates import AgentAuthority, Certificate, make_certificate


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "db.example", "127.0.0.1")


def pair(
    made: Certificate, mode: str = "verify-full", name: str = "db.example", alpn: tuple[str, ...] = ()
) -> tuple[TlsStream, TlsStream]:
    """A client's and a server's end, before the handshake."""
    server = TlsStream(ServerCertificate(made.certificate, made.key).context(alpn), server_side=True)
    client = TlsStream(client_context(mode, made.authority if mode.startswith("verify") else None, alpn),
                       server_side=False, server_name=name)
    return client, server


def shake(client: TlsStream, server: TlsStream, size: int = 1 << 20) -> None:
    """Carry bytes in pieces of `size` until both ends are done."""
    ends = [client, server]
    done = {0: client.handshake(), 1: False}
    while not all(done.values()):
        for index in (0, 1):
            data = ends[index].outgoing()
            for start in range(0, len(data), size):
                piece = data[start:start + size]
                if done[1 - index]:
                    ends[1 - index].unseal(piece)
                else:
                    done[1 - index] = ends[1 - index].handshake(piece)


def test_plaintext_arrives_on_the_other_side(made: Certificate) -> None:
    """What one end seals the other unseals, both ways, in order."""
    client, server = pair(made)
    shake(client, server)
    assert server.unseal(client.seal(b"to the server")) == b"to the server"
    assert client.unseal(server.outgoing() + server.seal(b"x" * 100_000)) == b"x" * 100_000


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 700))
def test_any_split_of_the_ciphertext_gives_the_same(size: int) -> None:
    """Records may be cut anywhere, in the handshake and after it."""
    made = MADE[0]
    client, server = pair(made)
    shake(client, server, size)
    sealed = client.seal(b"a" * 1000) + client.seal(b"b" * 10)
    plain = b"".join(server.unseal(sealed[at:at + size]) for at in range(0, len(sealed), size))
    assert plain == b"a" * 1000 + b"b" * 10


MADE: list[Certificate] = []


@pytest.fixture(autouse=True, scope="module")
def _keep(made: Certificate) -> None:
    MADE.append(made)


def test_server_name_and_alpn_are_seen(made: Certificate) -> None:
    """The listener learns which name was asked for and what was agreed on."""
    client, server = pair(made, alpn=("postgresql",))
    shake(client, server)
    assert (server.server_name, server.alpn, client.alpn) == ("db.example", "postgresql", "postgresql")


def test_both_ends_know_the_same_end_point(made: Certificate) -> None:
    """Channel binding: the client computes from what it was shown what the server knows of its file."""
    client, server = pair(made)
    shake(client, server)
    assert client.peer_end_point() == ServerCertificate(made.certificate, made.key).end_point is not None


@pytest.mark.parametrize(("mode", "name", "is_trusted"), [
    ("verify-full", "db.example", True), ("verify-full", "other.example", False), ("verify-full", "127.0.0.1", True),
    ("verify-ca", "other.example", True), ("require", "other.example", True),
])
def test_each_mode_checks_what_it_says(made: Certificate, mode: str, name: str, is_trusted: bool) -> None:
    """verify-full checks chain and name, verify-ca the chain, require nothing."""
    client, server = pair(made, mode, name)
    if is_trusted:
        shake(client, server)
        return
    with pytest.raises(TlsError):
        shake(client, server)


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
def test_another_authority_is_not_trusted(made: Certificate, tmp_path: Path, mode: str) -> None:
    """A chain that does not end at the configured authority is refused."""
    other = make_certificate(tmp_path, "db.example").authority
    server = TlsStream(ServerCertificate(made.certificate, made.key).context(()), server_side=True)
    client = TlsStream(client_context(mode, other, ()), server_side=False, server_name="db.example")
    with pytest.raises(TlsError, match="certificate"):
        shake(client, server)


def test_noise_instead_of_a_handshake_is_an_error(made: Certificate) -> None:
    """Random bytes end the handshake with an error and an alert, not with an exception of OpenSSL."""
    _, server = pair(made)
    with pytest.raises(TlsError):
        server.handshake(b"GET / HTTP/1.1\r\n\r\n")


def test_a_backend_without_tls_is_named_as_one(made: Certificate) -> None:
    """`wrong version number` alone sends people to look at versions."""
    client, _ = pair(made)
    client.handshake()
    with pytest.raises(TlsError, match="does not speak TLS"):
        client.handshake(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_broken_record_is_an_error(made: Certificate) -> None:
    """One flipped bit of ciphertext ends the connection."""
    client, server = pair(made)
    shake(client, server)
    sealed = bytearray(client.seal(b"secret"))
    sealed[-1] ^= 1
    with pytest.raises(TlsError):
        server.unseal(bytes(sealed))


def test_close_notify_is_seen(made: Certificate) -> None:
    """A peer that says goodbye properly is known to have done so."""
    client, server = pair(made)
    shake(client, server)
    assert server.unseal(client.seal(b"last") + client.close()) == b"last"
    assert server.is_closed


def test_files_that_cannot_be_used_are_named(made: Certificate, tmp_path: Path) -> None:
    """Missing, mismatched, encrypted and non-PEM files: the error names the file and what to do."""
    other = make_certificate(tmp_path / "other", "x.example")
    noise = tmp_path / "noise.pem"
    noise.write_text("nothing")
    locked = tmp_path / "locked.key"
    locked.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")))
    for certificate, key, words in (
        (made.certificate, tmp_path / "no.key", "no.key"), (made.certificate, other.key, "is not the key of"),
        (noise, made.key, "noise.pem"), (made.certificate, noise, "noise.pem"),
        (made.certificate, locked, "encrypted"), (tmp_path, made.key, "cannot read"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            ServerCertificate(certificate, key)
        assert caught.value.advice()


def test_a_missing_authority_is_named(tmp_path: Path) -> None:
    """A CA file that is not there, or holds none, is a configuration error."""
    with pytest.raises(ConfigError, match=r"no\.pem"):
        client_context("verify-full", tmp_path / "no.pem", ())
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(ConfigError, match=r"empty\.pem"):
        client_context("verify-full", empty, ())


def test_a_client_certificate_that_cannot_be_used_is_named_and_a_new_one_is_read(made: Certificate, tmp_path: Path) -> None:
    """Towards a backend as at a listener; files that have changed are read again."""
    other = make_certificate(tmp_path / "other", "client.example")
    for own, words in (((made.certificate, other.key), "is not the key of"), ((tmp_path / "no.crt", made.key), r"no\.crt")):
        with pytest.raises(ConfigError, match=words):
            client_context("verify-full", made.authority, (), own)
    own = (other.certificate, other.key)
    first = client_context("verify-full", made.authority, (), own)
    assert client_context("verify-full", made.authority, (), own) is first
    renewed = make_certificate(tmp_path / "renewed", "client.example")
    for old, new in zip(own, (renewed.certificate, renewed.key), strict=True):
        old.write_bytes(new.read_bytes())
        os.utime(old, ns=(0, 1))
    assert client_context("verify-full", made.authority, (), own) is not first


def self_signed(key: object, algorithm: hashes.HashAlgorithm | None, **more: object) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    return (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())  # type: ignore[attr-defined]
            .serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
            .sign(key, algorithm, **more))  # type: ignore[arg-type]


def test_the_end_point_follows_the_signature() -> None:
    """RFC 5929: the signature's own hash; nothing for Ed25519 and RSASSA-PSS, where it is undefined."""
    key = ec.generate_private_key(ec.SECP256R1())
    for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        certificate = self_signed(key, algorithm)
        assert server_end_point(certificate) == certificate.fingerprint(algorithm)
    assert server_end_point(self_signed(ed25519.Ed25519PrivateKey.generate(), None)) is None
    secret = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    assert server_end_point(self_signed(secret, hashes.SHA256(), rsa_padding=pss)) is None


# --- certificates of clients -------------------------------------------------------------------


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> AgentAuthority:
    return AgentAuthority(tmp_path_factory.mktemp("agents"))


def shown(made: Certificate, rules: CertificateRules | None, own: Certificate | None) -> bytes | None:
    """What a server that asks for such certificates has been shown. `TlsError` where it took none."""
    server = TlsStream(ServerCertificate(made.certificate, made.key).context((), rules), server_side=True)
    context = client_context("verify-full", made.authority, (), None if own is None else (own.certificate, own.key))
    client = TlsStream(context, server_side=False, server_name="db.example")
    shake(client, server)
    return server.peer_certificate()


def test_clients_show_certificates_of_the_authorities_that_are_asked_for(made: Certificate, agents: AgentAuthority) -> None:
    """Shown and verified, shown to nobody, or none where none is needed."""
    rules = CertificateRules("mesh", agents.file, "cn")
    good = agents.issue("good", common=["a"])
    assert shown(made, rules, good) == x509.load_pem_x509_certificate(good.certificate.read_bytes()).public_bytes(
        serialization.Encoding.DER)
    assert shown(made, rules, None) is None
    assert shown(made, None, good) is None
    with pytest.raises(TlsError):
        shown(made, replace(rules, required=True), None)


def test_what_does_not_lead_to_an_authority_ends_the_handshake(
    made: Certificate, agents: AgentAuthority, tmp_path: Path
) -> None:
    """Another authority of the same name, one that the system trusts or none; expired, not begun, or for servers."""
    rules = CertificateRules("mesh", agents.file, "cn")
    stranger = AgentAuthority(tmp_path)
    for own in (stranger.issue("forged", common=["a"]), made,
                agents.issue("late", common=["a"], ends=dt.timedelta(seconds=-5)),
                agents.issue("early", common=["a"], begins=dt.timedelta(minutes=5)),
                agents.issue("server", common=["a"], purposes=[ExtendedKeyUsageOID.SERVER_AUTH])):
        with pytest.raises(TlsError):
            shown(made, rules, own)


def test_revoked_certificates_are_refused_and_a_changed_list_is_read(made: Certificate, agents: AgentAuthority) -> None:
    """By the list that is there at the handshake; one that has run out lets nobody in."""
    one, other = agents.issue("revoked", common=["a"]), agents.issue("kept", common=["a"])
    rules = CertificateRules("mesh", agents.file, "cn", agents.revoke())
    certificate = ServerCertificate(made.certificate, made.key)
    before = certificate.context((), rules)
    assert certificate.context((), rules) is before
    assert shown(made, rules, one) is not None
    agents.revoke(one)
    os.utime(agents.folder / "revoked.pem", ns=(1, 1))
    assert certificate.context((), rules) is not before
    with pytest.raises(TlsError):
        shown(made, rules, one)
    assert shown(made, rules, other) is not None
    agents.revoke(ends=dt.timedelta(hours=-1))
    with pytest.raises(TlsError):
        shown(made, rules, other)


def test_files_that_let_nobody_be_verified_stop_the_start(made: Certificate, agents: AgentAuthority, tmp_path: Path) -> None:
    """No authority, no list, or something else in the file."""
    certificate, empty = ServerCertificate(made.certificate, made.key), tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for rules in (CertificateRules("mesh", empty, "cn"), CertificateRules("mesh", tmp_path / "none.pem", "cn"),
                  CertificateRules("mesh", agents.file, "cn", empty), CertificateRules("mesh", agents.file, "cn", agents.file),
                  CertificateRules("mesh", agents.revoke(), "cn")):
        with pytest.raises(ConfigError):
            certificate.context((), rules)

"""Certificates of clients: what of them says who somebody is, and when nobody is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from lockgate.errors import IdentityError
from lockgate.govern.identity import CertificateRules, Failure, ShownCertificate, identify, verify_binding
from lockgate.model import Identity
from testbed.certificates import AgentAuthority
from tests.unit.govern.identity.material import NOW, check, claims, mint

SPIFFE = x509.UniformResourceIdentifier("spiffe://example.org/agents/analyst")
RULES = CertificateRules("mesh", Path("ca.pem"), "san_uri")
Issue = Callable[..., ShownCertificate]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> AgentAuthority:
    return AgentAuthority(tmp_path_factory.mktemp("agents"))


@pytest.fixture
def issue(authority: AgentAuthority) -> Issue:
    """A certificate as TLS hands it over."""
    def made(*alternatives: x509.GeneralName, **more: Any) -> ShownCertificate:
        issued = authority.issue("one", *alternatives, **more)
        return ShownCertificate.of(
            x509.load_pem_x509_certificate(issued.certificate.read_bytes()).public_bytes(Encoding.DER))
    return made


def who(shown: ShownCertificate, now: float | None = None, **rules: Any) -> Identity:
    return identify(replace(RULES, **rules), shown, dt.datetime.now(dt.UTC).timestamp() if now is None else now)


def refused(shown: ShownCertificate, now: float | None = None, **rules: Any) -> str:
    with pytest.raises(IdentityError) as caught:
        who(shown, now, **rules)
    return caught.value.code


def test_a_certificate_says_who_shows_it(issue: Issue) -> None:
    """By the one name in the configured place; its end is the identity's, and its fingerprint stands for the token."""
    shown = issue(SPIFFE, x509.DNSName("Analyst.example.org"), x509.RFC822Name("analyst@example.org"), common=["analyst 7"],
                  units=["research", "agents"])
    found = who(shown, agent="last")
    assert (found.subject, found.agent, found.provider) == ("spiffe://example.org/agents/analyst", "analyst", "mesh")
    assert found.issuer == "urn:lockgate:certificates:mesh"
    assert (found.expires_at, found.token_hash, found.groups) == (shown.expires_at, shown.fingerprint, frozenset())
    assert who(shown, subject="san_dns").subject == "analyst.example.org"
    assert who(shown, subject="san_email").subject == "analyst@example.org"
    assert who(shown, subject="cn", agent="san_email", issuer="https://issuer").agent == "analyst@example.org"
    assert who(shown, subject="cn", issuer="https://issuer").principal == ("https://issuer", "analyst 7")
    assert who(shown, has_units=True).groups == {"research", "agents"}


@pytest.mark.parametrize(("pattern", "fits"), [
    ("spiffe://example.org/agents/analyst", True), ("spiffe://example.org/agents/*", True), ("spiffe://*/agents/an*st", True),
    ("spiffe://example.org/*", False), ("*", False), ("spiffe://example.org/agents/analys", False),
    ("spiffe://example.org/agents/.*", False), ("SPIFFE://example.org/agents/analyst", False), ("spiffe://example.org/agents/analyst*", False),
])
def test_groups_come_from_patterns_of_the_whole_subject(issue: Issue, pattern: str, fits: bool) -> None:
    """A star is one part of a path and never a slash; everything else is itself."""
    assert who(issue(SPIFFE), groups={pattern: ("agents",), "other": ("dba",)}).groups == ({"agents"} if fits else set())


def test_a_certificate_without_its_one_name_is_nobodys(issue: Issue) -> None:
    """None, several, one in another place, a wildcard, or one that cannot be printed."""
    for shown, place in ((issue(), "san_uri"), (issue(SPIFFE, x509.UniformResourceIdentifier("spiffe://example.org/b")), "san_uri"),
                         (issue(SPIFFE), "san_dns"), (issue(x509.DNSName("*.example.org")), "san_dns"),
                         (issue(common=["a", "b"]), "cn"), (issue(common=["a\nb"]), "cn"), (issue(SPIFFE), "cn")):
        assert refused(shown, subject=place) == Failure.SUBJECT
    assert refused(issue(SPIFFE), agent="cn") == Failure.SUBJECT
    assert refused(issue(SPIFFE, units=["a\0b"]), has_units=True) == Failure.GROUPS
    assert refused(issue(SPIFFE), subject="none") == Failure.CERTIFICATE


@pytest.mark.parametrize("more", [
    {"purposes": None}, {"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}, {"purposes": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
    {"is_authority": True},
])
def test_a_certificate_for_something_else_says_nothing(issue: Issue, more: dict[str, object]) -> None:
    """It has to name the purpose of clients, and to be no authority's, whatever TLS lets pass."""
    assert refused(issue(SPIFFE, **more)) == Failure.CERTIFICATE
    assert who(issue(SPIFFE, purposes=[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])).subject == SPIFFE.value


def test_a_certificate_counts_from_its_beginning_to_its_end(issue: Issue) -> None:
    """To the second, with no leeway: TLS has none either."""
    shown = issue(SPIFFE)
    assert who(shown, shown.expires_at - 1).subject
    assert refused(shown, shown.expires_at) == Failure.EXPIRED
    assert refused(shown, float("nan")) == Failure.EXPIRED
    assert refused(shown, shown.expires_at - 3 * 3600) == Failure.NOT_YET_VALID


def test_what_is_no_certificate_is_refused() -> None:
    """Whatever TLS accepted has to be readable here too."""
    with pytest.raises(IdentityError) as caught:
        ShownCertificate.of(b"0\x03\x02\x01\x01")
    assert caught.value.code == Failure.CERTIFICATE


def test_a_bound_token_counts_with_its_certificate_only(issue: Issue) -> None:
    """RFC 8705 section 3.1: `x5t#S256`. The shorter of the two lives is the identity's."""
    shown, other = issue(SPIFFE), issue(SPIFFE)
    bound = check(mint(claims(cnf={"x5t#S256": shown.thumbprint})))
    assert bound.bound_to == shown.thumbprint
    assert verify_binding(bound, shown).expires_at == min(bound.expires_at, shown.expires_at)
    later = replace(bound, expires_at=shown.expires_at + 60)
    assert verify_binding(later, shown).expires_at == shown.expires_at
    for wrong in (None, other):
        with pytest.raises(IdentityError) as caught:
            verify_binding(bound, wrong)
        assert caught.value.code == Failure.SENDER_CONSTRAINED
    bearer = check(mint(claims()))
    assert verify_binding(bearer, None) is verify_binding(bearer, shown) is bearer
    assert bearer.expires_at > NOW


@pytest.mark.parametrize("method", [
    {"jkt": "x"}, {}, [], "x", True, {"x5t#S256": "short"}, {"x5t#S256": 7}, {"x5t#S256": "a" * 43 + "="},
    {"x5t#S256": "a" * 43, "jkt": "x"}, {"x5t#S256": "a" * 42 + "+"}, {"x5t": "a" * 43},
])
def test_other_bindings_are_refused(method: object) -> None:
    """Nobody would check them."""
    with pytest.raises(IdentityError) as caught:
        check(mint(claims(cnf=method)))
    assert caught.value.code == Failure.SENDER_CONSTRAINED

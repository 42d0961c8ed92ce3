"""What a good token becomes, and how far the rules reach."""

from __future__ import annotations

import hashlib
import json

import pytest

from lockgate.errors import ConfigError, IdentityError
from lockgate.govern.identity import Failure, KeySet, ProviderRules, index_providers, verify_token
from tests.unit.govern.identity.material import (
    AUDIENCE,
    ISSUER,
    NOW,
    OTHER,
    RULES,
    check,
    claims,
    key_set,
    mint,
    public,
    published,
    raw,
)


def code_of(token: str, rules: ProviderRules, keys: KeySet, now: float = NOW) -> str:
    with pytest.raises(IdentityError) as caught:
        verify_token(token, {rules.issuer: rules}, {rules.issuer: keys}, now)
    return caught.value.code


def test_every_field_comes_from_the_token() -> None:
    """A verified token fills the whole identity, and the record's name for it is a hash of `jti`."""
    identity = check(mint())
    assert identity.issuer == ISSUER
    assert identity.provider == "corp"
    assert identity.subject == "ada"
    assert identity.groups == {"analysts", "dbas"}
    assert identity.client_id == "crew"
    assert identity.agent == "planner"
    assert identity.model == "m-1"
    assert identity.expires_at == NOW + 600 + RULES.leeway
    assert identity.token_hash == hashlib.sha256(b"token-1").hexdigest()


@pytest.mark.parametrize(
    ("algorithm", "signer"),
    [("RS256", "rsa-1"), ("RS384", "rsa-1"), ("RS512", "rsa-1"), ("PS256", "rsa-pss"), ("PS384", "rsa-1"),
     ("PS512", "rsa-1"), ("ES256", "P256-1"), ("ES384", "P384-1"), ("ES512", "P521-1"), ("EdDSA", "ed-1"),
     ("Ed25519", "ed-1")],
)
def test_each_algorithm_verifies(algorithm: str, signer: str) -> None:
    """Every algorithm of the allow list is served by the key type that it belongs to."""
    assert check(mint(algorithm=algorithm, signer=signer)).subject == "ada"


def test_token_without_id_is_named_by_its_hash() -> None:
    """Without `jti` the record names the token by the hash of all of it."""
    token = mint(claims(jti=None))
    assert check(token).token_hash == hashlib.sha256(token.encode()).hexdigest()


def test_optional_claims_may_be_absent() -> None:
    """Groups, client, agent, model, `nbf` and `iat` are optional: absent is empty, never a guess."""
    identity = check(mint({"iss": ISSUER, "sub": "ada", "aud": [AUDIENCE], "exp": NOW + 1.5}))
    assert (identity.groups, identity.client_id, identity.agent, identity.model) == (frozenset(), None, None, None)
    assert identity.expires_at == NOW + 31.5


def test_client_id_stands_in_for_azp() -> None:
    """RFC 9068 tokens name their client in `client_id`; several audiences are fine with either."""
    assert check(mint(claims(azp=None, client_id="crew", aud=["x", AUDIENCE]))).client_id == "crew"
    assert check(mint(claims(azp="crew", client_id="crew"))).client_id == "crew"


def test_key_id_may_be_left_out_where_one_key_fits() -> None:
    """Without `kid` the only key of that algorithm is meant."""
    assert check(mint(algorithm="ES384", signer="P384-1", kid=None)).subject == "ada"


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"])
def test_types_of_access_tokens(kind: str | None) -> None:
    """`typ` may be absent or that of a JWT or access token, in any case."""
    assert check(mint(None, typ=kind)).subject == "ada"


def test_leeway_at_its_edges() -> None:
    """Inside of the leeway a token passes on both ends, and not one second beyond."""
    assert check(mint(), NOW + 600 + 29).subject == "ada"
    assert check(mint(claims(nbf=int(NOW) + 30, iat=int(NOW) + 30))).subject == "ada"
    with pytest.raises(IdentityError, match="expired"):
        check(mint(), NOW + 600 + 30)


def test_clock_that_is_no_number_fails_closed() -> None:
    """A broken clock never makes a token valid."""
    with pytest.raises(IdentityError, match="expired"):
        check(mint(), float("nan"))


@pytest.mark.parametrize(
    ("path", "content", "groups"),
    [
        ("groups", {"groups": "dbas"}, {"dbas"}),
        ("groups", {"groups": []}, set()),
        ("groups", {"groups": None}, set()),
        ("realm_access.roles", {"realm_access": {"roles": ["a", "b"]}}, {"a", "b"}),
        ("https://example.com/groups", {"https://example.com/groups": ["a"]}, {"a"}),
        ("a.b", {"a.b": ["literal"], "a": {"b": ["nested"]}}, {"literal"}),
        ("a.b", {"a": "text"}, set()),
        ("a.b", {"a": ["b"]}, set()),
        ("groups", {"groups": ["CN=DBA,OU=Groups,DC=example", "Équipe données"]},
         {"CN=DBA,OU=Groups,DC=example", "Équipe données"}),
    ],
)
def test_groups_by_path(path: str, content: dict[str, object], groups: set[str]) -> None:
    """Groups are found by literal name first, then by dotted path; one text is one group."""
    rules = ProviderRules("corp", ISSUER, AUDIENCE, groups_claim=path)
    text = {**claims(groups=None), **content}
    identity = verify_token(
        raw(b'{"alg":"ES256","kid":"P256-1"}', json.dumps(text).encode()), {ISSUER: rules}, published(), NOW
    )
    assert identity.groups == groups


def test_algorithm_must_be_allowed_although_a_key_fits() -> None:
    """The allow list is the provider's, whatever keys it publishes."""
    rules = ProviderRules("corp", ISSUER, AUDIENCE, algorithms=frozenset({"RS256"}))
    assert code_of(mint(), rules, published()[ISSUER]) == Failure.ALGORITHM


def test_keys_of_another_issuer_are_not_asked() -> None:
    """Without keys of the token's own issuer nothing verifies, whoever else publishes keys."""
    with pytest.raises(IdentityError) as caught:
        check(mint(), keysets={OTHER: published()[ISSUER]})
    assert caught.value.code == Failure.PROVIDER_UNAVAILABLE


def test_same_key_id_twice() -> None:
    """Two keys of one id are told apart by type (RFC 7517 §4.5), and refused where that is not enough."""
    rsa = public("rsa-1", kid="k")
    one, two = public("P256-1", kid="k"), public("P256-2", kid="k")
    assert verify_token(mint(kid="k"), {ISSUER: RULES}, {ISSUER: key_set(rsa, one)}, NOW).subject == "ada"
    assert code_of(mint(kid="k"), RULES, key_set(one, two)) == Failure.KEY_AMBIGUOUS


@pytest.mark.parametrize(
    "change",
    [
        {"algorithms": frozenset()}, {"algorithms": frozenset({"HS256"})}, {"algorithms": frozenset({"none"})},
        {"audience": ""}, {"issuer": ""}, {"groups_claim": ""}, {"agent_claim": ""}, {"leeway": -1.0},
        {"leeway": 301.0}, {"leeway": float("nan")}, {"algorithms": frozenset({"ES256", "ES256K"})},
    ],
    ids=repr,
)
def test_unsafe_rules_cannot_be_built(change: dict[str, object]) -> None:
    """A rule that would accept nothing or too much is refused when it is configured."""
    with pytest.raises(ConfigError):
        ProviderRules(**{"name": "corp", "issuer": ISSUER, "audience": AUDIENCE, **change})  # type: ignore[arg-type]


def test_providers_are_told_apart() -> None:
    """Issuers and names are unique, and there is at least one provider."""
    other = ProviderRules("other", OTHER, AUDIENCE)
    assert list(index_providers([RULES, other])) == [ISSUER, OTHER]
    for rules in ([], [RULES, RULES], [RULES, ProviderRules("corp", OTHER, AUDIENCE)]):
        with pytest.raises(ConfigError):
            index_providers(rules)

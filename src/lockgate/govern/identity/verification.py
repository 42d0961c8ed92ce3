"""The checks that turn a token into an `Identity`, numbered and in one place.

Every check raises; an `Identity` exists only when all of them passed, so no result can be
forgotten. Follows RFC 7519 §7.2, RFC 8725 and OpenID Connect Core §3.1.3.7. Checks 1 and 2 (shape
and header) are in `compact`, because they need neither provider nor key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from lockgate.govern.identity import claims as read
from lockgate.govern.identity.compact import UnverifiedToken, read_token
from lockgate.govern.identity.failures import Failure, failed
from lockgate.govern.identity.keys import KeySet
from lockgate.govern.identity.rules import ProviderRules
from lockgate.model import Identity

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def verify_token(
    token: str, providers: Mapping[str, ProviderRules], keysets: Mapping[str, KeySet], now: float
) -> Identity:
    """All checks on `token` at the Unix time `now`. Both mappings are by issuer.

    Raises `IdentityError` with the code of the first check that failed; never anything else.
    """
    unverified = read_token(token)
    rules = select_provider(unverified, providers)
    keys = keysets.get(rules.issuer)
    if keys is None:
        raise failed(Failure.PROVIDER_UNAVAILABLE, f"no keys of provider {rules.name!r} are known")
    return verify(unverified, rules, keys, now)


def select_provider(token: UnverifiedToken, providers: Mapping[str, ProviderRules]) -> ProviderRules:
    """Check 3: the claimed issuer is, character for character, a configured one.

    The claim is not proven yet; it only chooses whose keys must prove it.
    """
    issuer = token.claims.get("iss")
    rules = providers.get(issuer) if isinstance(issuer, str) else None
    if rules is None:
        raise failed(
            Failure.ISSUER,
            "the token's issuer is not a configured identity provider",
            advice="The issuer must equal `identity.providers[].issuer`, also in a trailing slash.",
        )
    return rules


def verify(token: UnverifiedToken, rules: ProviderRules, keys: KeySet, now: float) -> Identity:
    """Checks 3 to 12 against one provider. Raises `IdentityError`; returns only if all passed."""
    claims = token.claims
    # 3. The keys in hand are those of the issuer that the token names.
    if claims.get("iss") != rules.issuer:
        raise failed(Failure.ISSUER, "the token is of another issuer than its keys")
    # 4. The algorithm is one that this provider may use; never chosen by the token alone.
    if token.algorithm not in rules.algorithms:
        raise failed(Failure.ALGORITHM, f"provider {rules.name!r} may not use the token's algorithm")
    # 5. Exactly one key of this provider fits.
    key = keys.select(token.algorithm, token.key_id)
    # 6. The signature. Nothing below is looked at before this holds.
    if not key.verifies(token.algorithm, token.signed, token.signature):
        raise failed(Failure.SIGNATURE, "the token's signature is wrong")
    # 7. Time.
    expires = verify_times(claims, now, rules.leeway)
    # 8. Meant for this gateway.
    verify_audience(claims, rules.audience)
    # 9. Bound to nothing but a certificate, if anything: who shows it is found out by `certificates.verify_binding`.
    bound_to = bound_certificate(claims)
    # 10. Somebody is responsible.
    subject = read.subject(claims)
    # 11. What else policies and records speak of.
    groups = read.groups(claims, rules.groups_claim)
    client_id = client_of(claims)
    agent = read.text_at(claims, rules.agent_claim)
    model = read.text_at(claims, rules.model_claim)
    # 12. A name for the token that is not the token.
    token_id = read.text(claims, "jti")
    named = token.text if token_id is None else token_id
    return Identity(
        issuer=rules.issuer,
        subject=subject,
        provider=rules.name,
        groups=groups,
        expires_at=expires,
        token_hash=hashlib.sha256(named.encode("utf-8")).hexdigest(),
        client_id=client_id,
        agent=agent,
        model=model,
        bound_to=bound_to,
    )


def verify_times(claims: Mapping[str, object], now: float, leeway: float) -> float:
    """`exp` is there and ahead, `nbf` and `iat` are not; clocks may differ by `leeway`.

    Returns the moment from which the token is refused: `exp` plus `leeway`, so that a login and a
    running session end by the same rule.
    """
    expires = read.moment(claims, "exp", required=True)
    not_before = read.moment(claims, "nbf")
    issued = read.moment(claims, "iat")
    assert expires is not None      # required above
    # Written so that a `now` that is not a number fails every one of them.
    if not now < expires + leeway:
        raise failed(Failure.EXPIRED, "the token has expired", advice="Get a new token and log in again.")
    if not_before is not None and not now >= not_before - leeway:
        raise failed(Failure.NOT_YET_VALID, "the token is not valid yet")
    if issued is not None and not now >= issued - leeway:
        raise failed(
            Failure.ISSUED_IN_FUTURE,
            "the token was issued in the future",
            advice="Compare the clocks of the gateway and of the identity provider.",
        )
    return expires + leeway


def bound_certificate(claims: Mapping[str, object]) -> str | None:
    """The SHA-256 of the certificate that a token is bound to (`cnf`, `x5t#S256`: RFC 8705 section 3.1), None for a bearer
    token. Other proofs of possession are refused, since nobody would check them (RFC 7800, RFC 9449)."""
    if "cnf" not in claims:
        return None
    method = claims["cnf"]
    thumbprint = method.get("x5t#S256") if isinstance(method, dict) and len(method) == 1 else None
    if not isinstance(thumbprint, str) or _THUMBPRINT.fullmatch(thumbprint) is None:
        raise failed(
            Failure.SENDER_CONSTRAINED,
            "the token is bound to a client's key in a way that cannot be checked here",
            advice="Ask the provider for a bearer token, or for one that is bound to a client certificate (no DPoP).",
        )
    return thumbprint


def verify_audience(claims: Mapping[str, object], audience: str) -> None:
    """`aud` holds ours; with several, the token also says which client it was issued to."""
    audiences = read.audiences(claims)
    if audience not in audiences:
        raise failed(
            Failure.AUDIENCE,
            "the token is not meant for this gateway",
            advice="Ask the provider for a token with the audience that is configured here.",
        )
    if len(set(audiences)) > 1 and client_of(claims) is None:
        raise failed(
            Failure.AUTHORIZED_PARTY, "the token has several audiences and names no authorised party ('azp')"
        )


def client_of(claims: Mapping[str, object]) -> str | None:
    """The client that the token was issued to: `azp` (OpenID Connect) or `client_id` (RFC 9068)."""
    party = read.text(claims, "azp")
    client = read.text(claims, "client_id")
    if party is not None and client is not None and party != client:
        raise failed(Failure.AUTHORIZED_PARTY, "the token's 'azp' and 'client_id' name different clients")
    return party if party is not None else client

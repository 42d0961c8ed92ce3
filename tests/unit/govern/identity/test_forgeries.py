"""The forgery matrix: what must never become an identity, and the code that says why."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lockgate.errors import IdentityError
from lockgate.govern.identity import Failure
from tests.unit.govern.identity.material import (
    AUDIENCE,
    ISSUER,
    NOW,
    OTHER,
    check,
    claims,
    decode,
    der_signed,
    encode,
    key,
    mint,
    public,
    raw,
    unsigned,
    with_hmac,
    with_signature,
)

HEAD = b'{"alg":"ES256","typ":"JWT","kid":"P256-1"}'


def pem(name: str) -> bytes:
    return bytes(key(name).as_pem(private=False))


def der(name: str) -> bytes:
    return bytes(key(name).as_der(private=False))


def body(extra: str) -> bytes:
    """Good claims with further text in front, so that names may occur twice."""
    return ("{" + extra + "," + json.dumps(claims())[1:]).encode()


def renamed(member: str, value: object) -> Callable[[], str]:
    return lambda: mint(claims(**{member: value}))


def headed(**header: object) -> Callable[[], str]:
    return lambda: mint(None, **header)     # type: ignore[arg-type]


def spare_bits(segment: int) -> str:
    """A second spelling of one segment: its unused last bits are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for padding in ("", "x", "xx"):
        parts = mint(claims(pad=padding), pad=padding).split(".")
        if len(parts[segment]) % 4 in (2, 3):
            last = alphabet.index(parts[segment][-1])
            parts[segment] = parts[segment][:-1] + alphabet[last + 1]
            return ".".join(parts)
    raise AssertionError


def deep(levels: int) -> bytes:
    return body('"deep":' + "[" * levels + "]" * levels)


FORGERIES: list[tuple[str, Callable[[], str], Failure]] = [
    # The algorithm.
    ("alg none", lambda: unsigned({"alg": "none", "typ": "JWT"}), Failure.ALGORITHM),
    ("alg None", lambda: unsigned({"alg": "None", "typ": "JWT"}), Failure.ALGORITHM),
    ("alg NONE", lambda: unsigned({"alg": "NONE", "typ": "JWT", "kid": "rsa-1"}), Failure.ALGORITHM),
    ("alg nOnE", lambda: unsigned({"alg": "nOnE", "typ": "JWT"}), Failure.ALGORITHM),
    ("alg none, no signature", lambda: unsigned({"alg": "none"}, b""), Failure.MALFORMED),
    ("alg empty", lambda: unsigned({"alg": ""}), Failure.ALGORITHM),
    ("alg missing", lambda: unsigned({"typ": "JWT"}), Failure.ALGORITHM),
    ("alg null", lambda: unsigned({"alg": None}), Failure.ALGORITHM),
    ("alg list", lambda: unsigned({"alg": ["ES256"]}), Failure.ALGORITHM),
    ("alg in lower case", headed(alg="es256"), Failure.ALGORITHM),
    ("alg with a space", headed(alg="ES256 "), Failure.ALGORITHM),
    ("alg of JWE", headed(alg="RSA-OAEP"), Failure.ALGORITHM),
    ("alg ES256K", headed(alg="ES256K"), Failure.ALGORITHM),
    ("HS256 with RSA public key, PEM", lambda: with_hmac(pem("rsa-1"), kid="rsa-1"), Failure.ALGORITHM),
    ("HS256 with RSA public key, DER", lambda: with_hmac(der("rsa-1"), kid="rsa-1"), Failure.ALGORITHM),
    ("HS256 with EC public key, PEM", lambda: with_hmac(pem("P256-1"), kid="P256-1"), Failure.ALGORITHM),
    ("HS256 with EC public key, DER", lambda: with_hmac(der("P256-1"), kid="P256-1"), Failure.ALGORITHM),
    ("HS256 with the JWK as text",
     lambda: with_hmac(json.dumps(public("rsa-1")).encode(), kid="rsa-1"), Failure.ALGORITHM),
    ("HS256 with an empty secret", lambda: with_hmac(b"\0" * 32), Failure.ALGORITHM),
    # The key.
    ("key confusion: RSA key named for ES256", headed(kid="rsa-1"), Failure.ALGORITHM),
    ("key confusion: P-384 key named for ES256", headed(kid="P384-1"), Failure.ALGORITHM),
    ("key is for PS256 only", lambda: mint(algorithm="RS256", signer="rsa-pss"), Failure.ALGORITHM),
    ("kid of another of the provider's keys",
     lambda: mint(algorithm="PS256", signer="rsa-1", kid="rsa-pss"), Failure.SIGNATURE),
    ("kid unknown", headed(kid="nobody"), Failure.KEY_UNKNOWN),
    ("kid is a path", headed(kid="../../../../dev/null"), Failure.KEY_UNKNOWN),
    ("kid is SQL", headed(kid="x' UNION SELECT 'key"), Failure.KEY_UNKNOWN),
    ("kid is a URL", headed(kid="https://evil.example/key"), Failure.KEY_UNKNOWN),
    ("kid with a NUL", headed(kid="P256-1\0"), Failure.KEY_UNKNOWN),
    ("kid in other case", headed(kid="p256-1"), Failure.KEY_UNKNOWN),
    ("kid is a number", headed(kid=1), Failure.HEADER),
    ("kid is empty", headed(kid=""), Failure.HEADER),
    ("kid is a list", headed(kid=["P256-1"]), Failure.HEADER),
    ("kid too long", headed(kid="k" * 257), Failure.HEADER),
    ("no kid where two keys fit",
     lambda: mint(algorithm="PS256", signer="rsa-1", kid=None), Failure.KEY_AMBIGUOUS),
    ("key is for encryption", lambda: mint(signer="P256-enc"), Failure.KEY_UNKNOWN),
    ("key of a stranger", lambda: mint(signer="P256-evil", kid="P256-1"), Failure.SIGNATURE),
    ("key of a stranger, no kid", lambda: mint(signer="P256-evil", kid=None), Failure.SIGNATURE),
    ("key of another provider", lambda: mint(signer="P256-other"), Failure.KEY_UNKNOWN),
    ("key of another provider, our kid",
     lambda: mint(signer="P256-other", kid="P256-1"), Failure.SIGNATURE),
    ("our key, issuer of another provider",
     lambda: mint(claims(iss=OTHER), signer="P256-1"), Failure.KEY_UNKNOWN),
    ("our key, another issuer, its kid",
     lambda: mint(claims(iss=OTHER), signer="P256-1", kid="P256-other"), Failure.SIGNATURE),
    ("algorithm that only another provider may use",
     lambda: mint(claims(iss=OTHER), algorithm="RS256", signer="rsa-1"), Failure.ALGORITHM),
    # Headers that bring their own key or change the reading.
    ("jwk in the header",
     lambda: mint(signer="P256-evil", jwk=public("P256-evil"), kid="P256-evil"), Failure.HEADER),
    ("jwk beside a right signature", lambda: mint(jwk=public("P256-1")), Failure.HEADER),
    ("jku", headed(jku="https://evil.example/jwks"), Failure.HEADER),
    ("x5u", headed(x5u="https://evil.example/cert"), Failure.HEADER),
    ("x5c", headed(x5c=["MIIB"]), Failure.HEADER),
    ("crit, unknown", headed(crit=["exp"], exp=1), Failure.HEADER),
    ("crit, empty", headed(crit=[]), Failure.HEADER),
    ("b64 false", headed(b64=False), Failure.HEADER),
    ("b64 false and crit", headed(b64=False, crit=["b64"]), Failure.HEADER),
    ("zip", headed(zip="DEF"), Failure.HEADER),
    ("enc", headed(enc="A256GCM"), Failure.HEADER),
    ("nested JWT", headed(cty="JWT"), Failure.HEADER),
    ("typ of a DPoP proof", headed(typ="dpop+jwt"), Failure.HEADER),
    ("typ of a logout token", headed(typ="logout+jwt"), Failure.HEADER),
    ("typ is no text", headed(typ=7), Failure.HEADER),
    # The signature.
    ("signature empty", lambda: mint().rpartition(".")[0] + ".", Failure.MALFORMED),
    ("signature all zero (CVE-2022-21449)", lambda: with_signature(bytes(64)), Failure.SIGNATURE),
    ("signature r = n, s = n", lambda: with_signature(bytes.fromhex(
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551") * 2), Failure.SIGNATURE),
    ("signature in ASN.1", der_signed, Failure.SIGNATURE),
    ("signature cut", lambda: with_signature(decode(mint().split(".")[2])[:-1]), Failure.SIGNATURE),
    ("signature longer", lambda: with_signature(decode(mint().split(".")[2]) + b"\0"), Failure.SIGNATURE),
    ("signature with zeros in front",
     lambda: with_signature(b"\0" + decode(mint().split(".")[2])), Failure.SIGNATURE),
    ("signature of RSA zero",
     lambda: with_signature(bytes(256), mint(algorithm="RS256", signer="rsa-1")), Failure.SIGNATURE),
    ("signature of RSA one",
     lambda: with_signature(bytes(255) + b"\1", mint(algorithm="RS256", signer="rsa-1")), Failure.SIGNATURE),
    ("signature of EdDSA zero",
     lambda: with_signature(bytes(64), mint(algorithm="EdDSA", signer="ed-1")), Failure.SIGNATURE),
    ("RS256 signature, PS256 claimed",
     lambda: mint(algorithm="RS256", signer="rsa-1", alg="PS256"), Failure.SIGNATURE),
    ("RS256 signature, RS512 claimed",
     lambda: mint(algorithm="RS256", signer="rsa-1", alg="RS512"), Failure.SIGNATURE),
    ("claims exchanged after signing",
     lambda: ".".join([mint().split(".")[0], encode(json.dumps(claims(sub="root")).encode()),
                       mint().split(".")[2]]), Failure.SIGNATURE),
    ("signature too long", lambda: with_signature(bytes(1_025)), Failure.TOO_LARGE),
    # The shape.
    ("empty", lambda: "", Failure.MALFORMED),
    ("only dots", lambda: "..", Failure.MALFORMED),
    ("truncated to two segments", lambda: mint().rpartition(".")[0], Failure.MALFORMED),
    ("truncated in the claims", lambda: mint()[:-120], Failure.MALFORMED),
    ("a fourth segment", lambda: mint() + ".x", Failure.MALFORMED),
    ("a fourth, empty segment", lambda: mint() + ".", Failure.MALFORMED),
    ("JWE of five segments", lambda: "e30.e30.e30.e30.e30", Failure.MALFORMED),
    ("JSON serialization", lambda: json.dumps({"payload": "e30", "signatures": []}), Failure.MALFORMED),
    ("a prefix", lambda: "Bearer " + mint(), Failure.MALFORMED),
    ("a newline at the end", lambda: mint() + "\n", Failure.MALFORMED),
    ("padding", lambda: mint() + "==", Failure.MALFORMED),
    ("standard base64 alphabet",
     lambda: with_signature(b"").removesuffix(".") + "." + "+/" * 43, Failure.MALFORMED),
    ("spare bits in the header", lambda: spare_bits(0), Failure.MALFORMED),
    ("spare bits in the claims", lambda: spare_bits(1), Failure.MALFORMED),
    ("spare bits in the signature", lambda: spare_bits(2), Failure.MALFORMED),
    ("letters that only look alike", lambda: mint().replace("e", "\u0435", 1), Failure.MALFORMED),
    ("half a surrogate pair", lambda: mint() + "\ud800", Failure.MALFORMED),
    ("a NUL", lambda: mint() + "\0", Failure.MALFORMED),
    ("oversized token", lambda: mint(claims(pad="x" * 20_000)), Failure.TOO_LARGE),
    ("oversized header", headed(pad="x" * 2_100), Failure.TOO_LARGE),
    ("oversized claims", lambda: raw(HEAD, b" " * 12_000 + body('"a":1')), Failure.TOO_LARGE),
    ("too many claims", lambda: mint(claims(**{f"c{i}": 1 for i in range(130)})), Failure.TOO_LARGE),
    # The JSON.
    ("name twice in the header",
     lambda: raw(b'{"alg":"none","alg":"ES256","kid":"P256-1"}', body('"a":1')), Failure.MALFORMED),
    ("name twice in the header, escaped",
     lambda: raw(b'{"\\u0061lg":"none","alg":"ES256","kid":"P256-1"}', body('"a":1')), Failure.MALFORMED),
    ("name twice in the claims", lambda: raw(HEAD, body('"sub":"root"')), Failure.MALFORMED),
    ("name twice inside of a claim", lambda: raw(HEAD, body('"x":{"y":[{"a":1,"a":2}]}')), Failure.MALFORMED),
    ("claims are a list", lambda: raw(HEAD, b"[]"), Failure.MALFORMED),
    ("claims are a text", lambda: raw(HEAD, b'"sub"'), Failure.MALFORMED),
    ("claims are no JSON", lambda: raw(HEAD, b"{'sub': 'ada'}"), Failure.MALFORMED),
    ("header is a list", lambda: raw(b'["ES256"]', body('"a":1')), Failure.MALFORMED),
    ("claims with a byte order mark", lambda: raw(HEAD, b"\xef\xbb\xbf" + body('"a":1')), Failure.MALFORMED),
    ("claims in UTF-16", lambda: raw(HEAD, json.dumps(claims()).encode("utf-16")), Failure.MALFORMED),
    ("claims not UTF-8", lambda: raw(HEAD, body('"a":"') + b'\xff"}'), Failure.MALFORMED),
    ("two objects", lambda: raw(HEAD, body('"a":1') + b"{}"), Failure.MALFORMED),
    ("NaN", lambda: raw(HEAD, body('"a":NaN')), Failure.MALFORMED),
    ("Infinity", lambda: raw(HEAD, body('"a":-Infinity')), Failure.MALFORMED),
    ("a number out of range", lambda: raw(HEAD, body('"a":1e999')), Failure.MALFORMED),
    ("a number of 5,000 digits", lambda: raw(HEAD, body('"a":' + "9" * 5_000)), Failure.MALFORMED),
    ("half a surrogate pair inside", lambda: raw(HEAD, body('"a":"\\ud800"')), Failure.MALFORMED),
    ("nested too deep", lambda: raw(HEAD, deep(11)), Failure.MALFORMED),
    ("nested 4,000 deep", lambda: raw(HEAD, deep(4_000)), Failure.MALFORMED),
    ("nested and never closed", lambda: raw(HEAD, b'{"a":' + b"[" * 9_000), Failure.MALFORMED),
    ("header nested too deep", headed(pad=[[[1]]]), Failure.MALFORMED),
    # The issuer.
    ("issuer missing", renamed("iss", None), Failure.ISSUER),
    ("issuer of nobody", renamed("iss", "https://evil.example"), Failure.ISSUER),
    ("issuer with a slash at the end", renamed("iss", ISSUER + "/"), Failure.ISSUER),
    ("issuer without its path", renamed("iss", OTHER.removesuffix("/realm")), Failure.ISSUER),
    ("issuer in other case", renamed("iss", "https://Login.example.com"), Failure.ISSUER),
    ("issuer with its port", renamed("iss", ISSUER + ":443"), Failure.ISSUER),
    ("issuer over http", renamed("iss", ISSUER.replace("https", "http")), Failure.ISSUER),
    ("issuer with a Cyrillic letter", renamed("iss", ISSUER.replace("o", "\u043e")), Failure.ISSUER),
    ("issuer with a full-width dot", renamed("iss", ISSUER.replace(".", "\uff0e")), Failure.ISSUER),
    ("issuer with a space", renamed("iss", ISSUER + " "), Failure.ISSUER),
    ("issuer with an invisible letter", renamed("iss", ISSUER + "\u200b"), Failure.ISSUER),
    ("issuer as a list", renamed("iss", [ISSUER]), Failure.ISSUER),
    ("issuer as an object", renamed("iss", {"is": ISSUER}), Failure.ISSUER),
    # The audience.
    ("audience missing", renamed("aud", None), Failure.AUDIENCE),
    ("audience of another", renamed("aud", "payroll"), Failure.AUDIENCE),
    ("audience that begins like ours", renamed("aud", AUDIENCE + "-2"), Failure.AUDIENCE),
    ("audience in other case", renamed("aud", "LockGate"), Failure.AUDIENCE),
    ("audience list without ours", renamed("aud", ["a", "b"]), Failure.AUDIENCE),
    ("audience list empty", renamed("aud", []), Failure.AUDIENCE),
    ("audience list with a number", renamed("aud", [AUDIENCE, 1]), Failure.AUDIENCE),
    ("audience as an object", renamed("aud", {AUDIENCE: True}), Failure.AUDIENCE),
    ("audience list too long", renamed("aud", [AUDIENCE] * 65), Failure.AUDIENCE),
    ("several audiences, no authorised party",
     lambda: mint(claims(aud=[AUDIENCE, "payroll"], azp=None)), Failure.AUTHORIZED_PARTY),
    ("authorised party and client differ", renamed("client_id", "intruder"), Failure.AUTHORIZED_PARTY),
    # Time.
    ("expired", renamed("exp", int(NOW) - 31), Failure.EXPIRED),
    ("expired, exactly at the leeway", renamed("exp", int(NOW) - 30), Failure.EXPIRED),
    ("expired long ago", renamed("exp", 0), Failure.EXPIRED),
    ("not yet valid", renamed("nbf", int(NOW) + 31), Failure.NOT_YET_VALID),
    ("issued in the future", renamed("iat", int(NOW) + 31), Failure.ISSUED_IN_FUTURE),
    ("exp missing", renamed("exp", None), Failure.CLAIM),
    ("exp true", renamed("exp", True), Failure.CLAIM),
    ("exp text", renamed("exp", str(int(NOW) + 600)), Failure.CLAIM),
    ("exp list", renamed("exp", [int(NOW) + 600]), Failure.CLAIM),
    ("exp huge", renamed("exp", 10**18), Failure.CLAIM),
    ("exp huge fraction", renamed("exp", 1e300), Failure.CLAIM),
    ("exp in milliseconds", renamed("exp", (int(NOW) + 600) * 1_000), Failure.CLAIM),
    ("exp negative", renamed("exp", -1), Failure.CLAIM),
    ("nbf text", renamed("nbf", "0"), Failure.CLAIM),
    ("nbf true", renamed("nbf", True), Failure.CLAIM),
    ("iat text", renamed("iat", "0"), Failure.CLAIM),
    ("iat object", renamed("iat", {}), Failure.CLAIM),
    # Whom it is about.
    ("subject missing", renamed("sub", None), Failure.SUBJECT),
    ("subject empty", renamed("sub", ""), Failure.SUBJECT),
    ("subject blank", renamed("sub", "   "), Failure.SUBJECT),
    ("subject a number", renamed("sub", 7), Failure.SUBJECT),
    ("subject a list", renamed("sub", ["ada"]), Failure.SUBJECT),
    ("subject too long", renamed("sub", "a" * 256), Failure.SUBJECT),
    ("subject with a terminal escape", renamed("sub", "ada\x1b[2J"), Failure.SUBJECT),
    ("subject with a line break", renamed("sub", "ada\nroot"), Failure.SUBJECT),
    ("subject that turns its direction", renamed("sub", "ada\u202eadmin"), Failure.SUBJECT),
    ("subject with an invisible letter", renamed("sub", "ada\u200b"), Failure.SUBJECT),
    ("groups an object", renamed("groups", {"dbas": True}), Failure.GROUPS),
    ("groups a number", renamed("groups", 7), Failure.GROUPS),
    ("groups true", renamed("groups", True), Failure.GROUPS),
    ("groups a list of lists", renamed("groups", [["dbas"]]), Failure.GROUPS),
    ("groups with a null", renamed("groups", ["dbas", None]), Failure.GROUPS),
    ("groups with an empty one", renamed("groups", ["dbas", ""]), Failure.GROUPS),
    ("groups too many", renamed("groups", [f"g{i}" for i in range(513)]), Failure.GROUPS),
    ("one group too long", renamed("groups", ["g" * 513]), Failure.GROUPS),
    ("client a list", renamed("azp", ["crew"]), Failure.CLAIM),
    ("client empty", renamed("azp", ""), Failure.CLAIM),
    ("agent a number", renamed("act", {"agent": 7}), Failure.CLAIM),
    ("model with a terminal escape", renamed("model", "m\x1b]0;x\x07"), Failure.CLAIM),
    ("token id a number", renamed("jti", 7), Failure.CLAIM),
    ("bound to a client's key", renamed("cnf", {"jkt": "x"}), Failure.SENDER_CONSTRAINED),
]


def test_matrix_is_whole() -> None:
    """The matrix has at least 40 cases and each has its own name."""
    names = [name for name, _, _ in FORGERIES]
    assert len(names) == len(set(names)) >= 40


@pytest.mark.parametrize(
    ("forge", "failure"), [pytest.param(make, code, id=name) for name, make, code in FORGERIES]
)
def test_forgery_is_refused_with_its_code(forge: Callable[[], str], failure: Failure) -> None:
    """No forgery becomes an identity; the code names the check, the message holds nothing of the token."""
    token = forge()
    with pytest.raises(IdentityError) as caught:
        check(token)
    assert caught.value.code == failure
    text = f"{caught.value} {caught.value.advice()}"
    assert "ada" not in text
    for segment in token.split("."):
        assert len(segment) < 8 or segment not in text


def test_unforged_token_passes() -> None:
    """The matrix starts from a token that passes, so that each case fails for its own reason."""
    assert check(mint()).subject == "ada"

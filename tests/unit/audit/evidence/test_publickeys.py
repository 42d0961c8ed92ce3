"""RSA and ECDSA in plain Python, and the keys in certificates."""

from __future__ import annotations

import pytest

from lockgate.audit.evidence.der import parse_der
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.publickeys import CURVES, PublicKey, read_public_key
from tests.unit.audit.evidence.equations import MESSAGE, Equation, Info, equations, infos, pair


def key_of(case: Equation) -> PublicKey:
    first, second, oid = case.key
    return PublicKey(first, second, CURVES[oid] if oid else None)


@pytest.mark.parametrize("case", equations(), ids=lambda case: case.name)
def test_a_signature_is_one_or_is_none(case: Equation) -> None:
    """Keys that meet the base point, hashes longer and shorter than the order, numbers outside of it, other paddings."""
    if case.is_right is None:
        with pytest.raises(EvidenceError) as caught:
            key_of(case).verifies(case.digest, MESSAGE, case.signature)
        assert (caught.value.check, caught.value.verdict) == ("anchor", "tampered")
    else:
        assert key_of(case).verifies(case.digest, MESSAGE, case.signature) is case.is_right


def test_of_two_signatures_one_counts() -> None:
    """Whoever sees an ECDSA signature can make the other one; RSA has only one."""
    for case in equations():
        key = key_of(case)
        if key.curve is None:
            assert key.canonical(case.signature) == case.signature
        elif case.is_right:
            r, s = (value.number() for value in parse_der(case.signature).items(0x30))
            assert key.canonical(case.signature) == pair(r, min(s, key.curve.order - s))
        elif case.is_right is None:
            with pytest.raises(EvidenceError):
                key.canonical(case.signature)


@pytest.mark.parametrize("case", infos(), ids=lambda case: case.name)
def test_a_key_of_a_certificate_is_taken_or_refused(case: Info) -> None:
    """RSA of 2048 to 8192 bits with an odd exponent, and points on P-256 and P-384 in their one encoding."""
    if case.is_right:
        assert read_public_key(parse_der(case.info)).first >= 0
    else:
        with pytest.raises(EvidenceError) as caught:
            read_public_key(parse_der(case.info))
        assert (caught.value.check, caught.value.verdict) == ("anchor", "tampered")

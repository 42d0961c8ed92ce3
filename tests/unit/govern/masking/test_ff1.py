"""FF1 against NIST's own samples, and permutations that lose and repeat nothing."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.ff1 import FF1, SMALLEST_DOMAIN, Permutation

KEY = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94"
LONG = "0123456789abcdefghi"

# NIST, "Recommendation for Block Cipher Modes of Operation: Methods for Format-Preserving Encryption", samples for
# FF1: https://csrc.nist.gov/CSRC/media/Projects/Cryptographic-Standards-and-Guidelines/documents/examples/FF1samples.pdf
SAMPLES = [
    (16, 10, "", "0123456789", "2433477484"),
    (16, 10, "39383736353433323130", "0123456789", "6124200773"),
    (16, 36, "3737373770717273373737", LONG, "a9tv40mll9kdu509eum"),
    (24, 10, "", "0123456789", "2830668132"),
    (24, 10, "39383736353433323130", "0123456789", "2496655549"),
    (24, 36, "3737373770717273373737", LONG, "xbj3kv35jrawxv32ysr"),
    (32, 10, "", "0123456789", "6657667009"),
    (32, 10, "39383736353433323130", "0123456789", "1001623463"),
    (32, 36, "3737373770717273373737", LONG, "xs8a0azh2avyalyzuwd"),
]


@pytest.mark.parametrize(("size", "radix", "tweak", "plain", "cipher"), SAMPLES)
def test_nist_samples(size: int, radix: int, tweak: str, plain: str, cipher: str) -> None:
    """All nine published samples, both ways."""
    ff1 = FF1(bytes.fromhex(KEY)[:size])
    found = ff1.encrypt(int(plain, radix), radix, len(plain), bytes.fromhex(tweak))
    assert found == int(cipher, radix)
    assert ff1.decrypt(found, radix, len(plain), bytes.fromhex(tweak)) == int(plain, radix)


@given(radix=st.integers(2, 65_536), length=st.integers(2, 300), tweak=st.binary(max_size=40), data=st.data())
def test_every_domain_is_turned_back(radix: int, length: int, tweak: bytes, data: st.DataObject) -> None:
    """Any radix, length and tweak: also those that need several blocks of the cipher, which no sample does."""
    length = max(length, -(-20 // (radix.bit_length() - 1)))
    number = data.draw(st.integers(0, radix**length - 1))
    ff1 = FF1(bytes.fromhex(KEY))
    image = ff1.encrypt(number, radix, length, tweak)
    assert 0 <= image < radix**length
    assert ff1.decrypt(image, radix, length, tweak) == number


def test_a_tweak_and_a_key_make_another_cipher() -> None:
    """What was remembered for one tweak is not used for the next."""
    ff1 = FF1(bytes(32))
    images = {ff1.encrypt(0, 10, 10, tweak.encode()) for tweak in ("", "a", "b", *string.digits)}
    images |= {ff1.encrypt(0, 10, length) for length in range(11, 400)}        # more than are remembered
    assert len(images) == 13 + 389
    assert ff1.encrypt(0, 10, 10) != FF1(bytes(31) + b"\1").encrypt(0, 10, 10)


@pytest.mark.parametrize(("number", "radix", "length"), [
    (0, 10, 5), (0, 2, 19), (0, 1, 30), (0, 65_537, 30), (0, 1_000_000, 1), (-1, 10, 10), (10**10, 10, 10)])
def test_small_domains_and_foreign_numbers_are_refused(number: int, radix: int, length: int) -> None:
    """Fewer than a million strings can be listed; a number outside the domain has no image."""
    ff1 = FF1(bytes(32))
    for run in (ff1.encrypt, ff1.decrypt):
        with pytest.raises(ValueError, match="domain"):
            run(number, radix, length)


@given(size=st.integers(SMALLEST_DOMAIN, 10**30), data=st.data())
def test_permutations_of_any_size(size: int, data: st.DataObject) -> None:
    """The image is below the size, and is turned back."""
    number = data.draw(st.integers(0, size - 1))
    permutation = Permutation(bytes(32))
    image = permutation.permute(number, size)
    assert 0 <= image < size
    assert permutation.restore(image, size) == number


@pytest.mark.parametrize(("number", "size"), [(0, SMALLEST_DOMAIN - 1), (0, 0), (-1, 10**7), (10**7, 10**7)])
def test_permutations_refuse_what_they_cannot_hide(number: int, size: int) -> None:
    """The same bounds as for the cipher."""
    permutation = Permutation(bytes(32))
    for run in (permutation.permute, permutation.restore):
        with pytest.raises(ValueError, match="domain"):
            run(number, size)

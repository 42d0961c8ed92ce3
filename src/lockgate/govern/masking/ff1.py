"""FF1: format-preserving encryption (NIST SP 800-38G, algorithms 7 and 8), and permutations of any size from it.

Apart from `preserving`, which knows what values look like: here are numbers alone. A numeral string is given as the
number that it reads as, and its length. The second draft of the revision (SP 800-38G Rev. 1) asks for at least a
million strings; smaller domains are refused, because they can be listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

SMALLEST_DOMAIN: Final = 1_000_000
_BLOCK: Final = 16
_ROUNDS: Final = 10
_REMEMBERED: Final = 256                            # shapes whose constants are kept


@dataclass(frozen=True, slots=True)
class _Shape:
    """What depends on radix, length and tweak alone, named as in the standard (steps 1 to 5)."""

    low: int                # radix ** u
    high: int               # radix ** v
    b: int
    d: int
    blocks: int             # of Q
    chained: int            # CIPH(P), the state of the chain behind P; where Q is one block, with `constant` in it
    constant: int           # what no round changes in Q: T and the zeros


class FF1:
    """FF1 under one AES key (16, 24 or 32 bytes)."""

    __slots__ = ("_block", "_shapes")

    def __init__(self, key: bytes) -> None:
        # One block at a time and chained by hand: ECB is the bare block cipher that the standard calls CIPH.
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305
        self._block: CipherContext = cipher.encryptor()
        self._shapes: dict[tuple[int, int, bytes], _Shape] = {}

    def encrypt(self, number: int, radix: int, length: int, tweak: bytes = b"") -> int:
        """The number that the encrypted numeral string reads as. ValueError outside the domain."""
        shape = self._shape(number, radix, length, tweak)
        a, b = divmod(number, shape.high)
        for turn in range(_ROUNDS):
            a, b = b, (a + self._random(shape, turn, b)) % (shape.high if turn & 1 else shape.low)
        return a * shape.high + b

    def decrypt(self, number: int, radix: int, length: int, tweak: bytes = b"") -> int:
        """What `encrypt` was given."""
        shape = self._shape(number, radix, length, tweak)
        a, b = divmod(number, shape.high)
        for turn in reversed(range(_ROUNDS)):
            a, b = (b - self._random(shape, turn, a)) % (shape.high if turn & 1 else shape.low), a
        return a * shape.high + b

    def _random(self, shape: _Shape, turn: int, half: int) -> int:
        """Steps i to iv of one round: the number y."""
        update = self._block.update
        tail = turn << 8 * shape.b | half
        if shape.blocks == 1:                       # up to 15 bytes: nearly every value
            block = update((shape.chained ^ tail).to_bytes(_BLOCK, "big"))
        else:
            q = (shape.constant | tail).to_bytes(shape.blocks * _BLOCK, "big")
            state = shape.chained
            block = b""
            for at in range(0, len(q), _BLOCK):
                block = update((state ^ int.from_bytes(q[at:at + _BLOCK], "big")).to_bytes(_BLOCK, "big"))
                state = int.from_bytes(block, "big")
        state = int.from_bytes(block, "big") if shape.d > _BLOCK else 0
        for index in range(1, (shape.d + _BLOCK - 1) // _BLOCK):
            block += update((state ^ index).to_bytes(_BLOCK, "big"))
        return int.from_bytes(block[:shape.d], "big")

    def _shape(self, number: int, radix: int, length: int, tweak: bytes) -> _Shape:
        shape = self._shapes.get((radix, length, tweak))
        if shape is None:
            shape = self._made(radix, length, tweak)
            if len(self._shapes) >= _REMEMBERED:
                self._shapes.clear()
            self._shapes[radix, length, tweak] = shape
        if not 0 <= number < shape.low * shape.high:
            raise ValueError("a number is not in its domain")
        return shape

    def _made(self, radix: int, length: int, tweak: bytes) -> _Shape:
        if not 2 <= radix <= 65_536 or length < 2 or radix**length < SMALLEST_DOMAIN:
            raise ValueError("a domain is too small to be encrypted")
        u = length // 2
        v = length - u
        b = ((radix**v - 1).bit_length() + 7) // 8
        p = (b"\1\2\1" + radix.to_bytes(3, "big") + b"\x0a" + bytes((u % 256,)) + length.to_bytes(4, "big")
             + len(tweak).to_bytes(4, "big"))
        chained = int.from_bytes(self._block.update(p), "big")
        q = tweak + bytes((-len(tweak) - b - 1) % _BLOCK + 1 + b)
        constant = int.from_bytes(q, "big")
        blocks = len(q) // _BLOCK
        return _Shape(radix**u, radix**v, b, 4 * ((b + 3) // 4) + 4, blocks,
                      chained ^ constant if blocks == 1 else chained, constant)


class Permutation:
    """A keyed permutation of the numbers below any size that is at least `SMALLEST_DOMAIN`.

    FF1 over bits; a result beyond the size is encrypted again until it is inside ("cycle walking"), on average
    less than twice.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = FF1(key)

    def permute(self, number: int, size: int) -> int:
        """The number's image. ValueError for a size that is too small or a number that is not below it."""
        length = _bits(number, size)
        number = self._cipher.encrypt(number, 2, length)
        while number >= size:
            number = self._cipher.encrypt(number, 2, length)
        return number

    def restore(self, number: int, size: int) -> int:
        """What `permute` was given."""
        length = _bits(number, size)
        number = self._cipher.decrypt(number, 2, length)
        while number >= size:
            number = self._cipher.decrypt(number, 2, length)
        return number


def _bits(number: int, size: int) -> int:
    if size < SMALLEST_DOMAIN or not 0 <= number < size:
        raise ValueError("a number is not in its domain")
    return (size - 1).bit_length()

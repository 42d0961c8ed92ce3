"""Permutations of whole types: what stands for tokens where a type holds numbers only.

Apart from `preserving`, which keeps the number of digits: here every value of the type may come out, so that small
numbers are hidden as well as large ones. Every value has one image; nothing in the image says that it is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lockgate.govern.masking import typed_values as typed
from lockgate.govern.masking.ff1 import Permutation

_UUID: Final = 16
PERMUTED: Final = {"int4": (4, True), "int8": (8, True), "oid": (4, False), "uuid": (_UUID, False)}
"""The types, with their bytes and whether they have a sign. An int2 could be listed, so it is none of them."""


class WholeType:
    """The permutation of one type under one key."""

    __slots__ = ("_integers", "_permutation", "_signed", "_size", "_uuids")

    def __init__(self, name: str, key: bytes) -> None:
        """`name` is one of `PERMUTED`; KeyError otherwise."""
        self._size, self._signed = PERMUTED[name]
        self._permutation = Permutation(key)
        self._uuids = (typed.uuids(binary=False), typed.uuids(binary=True))
        self._integers = () if self._size == _UUID else tuple(
            typed.integers(self._size, binary, signed=self._signed) for binary in (False, True))

    def permute(self, value: bytes, binary: bool) -> bytes | None:
        """The image of a value, None for what is no value of the type."""
        return self._through(self._permutation.permute, value, binary)

    def restore(self, value: bytes, binary: bool) -> bytes | None:
        """The value that has this image."""
        return self._through(self._permutation.restore, value, binary)

    def _through(self, change: Callable[[int, int], int], value: bytes, binary: bool) -> bytes | None:
        size, signed = self._size, self._signed
        try:
            if size == _UUID:
                uuids = self._uuids[binary]
                number = int.from_bytes(uuids.read(value), "big")
                return uuids.write(change(number, 1 << 8 * size).to_bytes(size, "big"))
            codec = self._integers[binary]
            raw = codec.read(value).to_bytes(size, "big", signed=signed)
            image = change(int.from_bytes(raw, "big"), 1 << 8 * size).to_bytes(size, "big")
            return codec.write(int.from_bytes(image, "big", signed=signed))
        except ValueError:
            return None

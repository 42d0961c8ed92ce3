"""Invented values: text that looks like what it stands for, the same for the same value under one key.

Apart from `preserving`, whose masks keep every digit's place and can be turned back: here nothing of the value is left
but what kind of text it is, and the marks between its words. That is read off the value itself: an e-mail, a number with its marks, a name (or, under
a label that says so, a place), else words and numbers in the same order. Two values may get the same invention. All
addresses are of domains that nobody owns (RFC 2606). Only textual types have one; longer texts than `LONGEST`, and
inventions that the column is too narrow for, are redacted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from lockgate.analysis.sql.masks import TEXTUAL
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.fake_words import CITIES, FIRST_NAMES, LAST_NAMES, PLAIN_WORDS
from lockgate.govern.masking.redaction import Replace, padded

LONGEST: Final = 4_096
"""Characters of a text that gets an invention."""

_EMAIL: Final = re.compile(r"[^@\s]++@[^@\s][^@\s.]*+\.[^@\s]++")
_NAME: Final = re.compile(r"[^\W\d_]+\.?(?:[ '-][^\W\d_]+\.?){0,3}")
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_WORD: Final = re.compile(r"[^\W_]")
_PART: Final = re.compile(r"[^\W\d_]+|\d+|[^\x20-\x7e\t\r\n]+")
_PLACES: Final = ("city", "town", "place")
_DOMAINS: Final = ("example.com", "example.net", "example.org")


def fake_mask(column: ColumnType, key: bytes, label: str, redact: Replace) -> Replace | None:
    """The mask for a column, None where its type has none."""
    if column.name not in TEXTUAL:
        return None
    limit = column.limit
    is_place = any(word in label.lower() for word in _PLACES)
    state = hashlib.blake2b(key=key, digest_size=32)

    def replace(value: bytes) -> bytes | None:
        try:
            text = value.decode().strip(" ")
        except UnicodeDecodeError:
            return redact(value)
        if len(text) > LONGEST or (text and _WORD.search(text) is None):
            return redact(value)
        seed = state.copy()
        seed.update(text.encode())
        invented = fake(text, seed.digest(), is_place=is_place)
        if limit is not None and len(invented) > limit:
            return redact(value)
        return padded(invented, column)

    return replace


def fake(text: str, seed: bytes, *, is_place: bool = False) -> str:
    """An invention for a text, in ASCII. The same for the same seed; no word or number of the text is in its own
    place again."""
    draws = _Draws(seed, len(text))
    if _EMAIL.fullmatch(text):
        number = draws.below(90) + 10
        return f"{draws.one(FIRST_NAMES, '')}.{draws.one(LAST_NAMES, '')}{number}@{draws.one(_DOMAINS, '')}".lower()
    if _NAME.fullmatch(text):
        words = _LETTERS.findall(text)
        names = [*[FIRST_NAMES] * (len(words) - 1), LAST_NAMES] if len(words) > 1 else [FIRST_NAMES]
        lists = [CITIES] if is_place else names
        return " ".join(_cased(draws.one(choice, word), word) for choice, word in zip(lists, words, strict=False))
    return _PART.sub(lambda found: _part(found.group(), draws), text)


def _part(part: str, draws: _Draws) -> str:
    if part.isdigit():
        return draws.digits(part)
    if _LETTERS.fullmatch(part):
        return _cased(draws.one(PLAIN_WORDS, part), part)
    return "-"                                      # signs outside ASCII could be words of their own


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word.capitalize() if like[:1].isupper() else word.lower()


class _Draws:
    """Numbers drawn from a seed, one after the other."""

    __slots__ = ("_at", "_stream")

    def __init__(self, seed: bytes, length: int) -> None:
        self._stream = hashlib.shake_128(seed).digest(32 + 4 * length)
        self._at = 0

    def below(self, count: int) -> int:
        self._at += 4
        return int.from_bytes(self._stream[self._at - 4:self._at], "big") % count

    def one(self, words: Sequence[str], but: str) -> str:
        """A word of the list, not the one that stood there."""
        at = self.below(len(words))
        return words[(at + 1) % len(words)] if words[at].casefold() == but.casefold() else words[at]

    def digits(self, like: str) -> str:
        """As many ASCII digits, the first of them no zero unless it was one, and not the same again."""
        drawn = [self.below(10) for _ in like]
        if like[0] != "0" and drawn[0] == 0:
            drawn[0] = 1 + self.below(9)
        made = "".join(map(str, drawn))
        return made if made != like else made[:-1] + str((drawn[-1] % 9) + 1)

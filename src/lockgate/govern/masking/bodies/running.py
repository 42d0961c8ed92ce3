"""Running text: detectors over what comes in pieces, so that no border between them tears a find.

Apart from `search`, which has whole values. Of text that goes on only so much is held as may still become part of a find:

1. the last word (what stands behind the last white space),
2. digits with the marks that may stand between them, as numbers of cards, accounts and telephones have,
3. the beginning of a private key or of a quoted password,
4. as many bytes as a policy's own pattern is meant to take (`_CUSTOM`),
5. and whatever find reaches the end.

What went on before stays in view as context: `password:` in one piece names what comes in the next. Of a word above
`_LONGEST_WORD` bytes in which nothing is found, the front is let go.
"""

from __future__ import annotations

import re
from typing import Final

import re2

from lockgate.govern.masking.search import Find, Search
from lockgate.model import MaskMethod

_CONTEXT: Final = 512
_CUSTOM: Final = 512
_LONGEST_WORD: Final = 8_192
_KEPT_OF_WORD: Final = 4_096
_SPACE: Final = (b" ", b"\n", b"\t", b"\r", b"\f", b"\v")
_DIGITS: Final = b"0123456789 .()/+-\xc2\xa0\xe2\x80\x90\x91\x92\x93\xaf"
"""What numbers are written with, no-break blanks and hyphens among it."""
_NUMBER: Final = re.compile(rb"[0-9(+]")
_LETTERS_TOO: Final = re.compile(rb"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}[A-Za-z0-9\x80-\xff -]*\Z")      # an IBAN
_LONGEST_IBAN: Final = 160
_DASHES: Final = re.compile(rb"-+[A-Z0-9 ]{0,60}-*\Z")                                                  # PEM
_LONGEST_DASHES: Final = 80
_QUOTED: Final = re.compile(rb"(?i)(?:password|identified by)\s{1,4}'[^'\x00]{0,200}\Z")
_LONGEST_QUOTED: Final = 240


class TextSearch:
    """Detectors over one text. `limit` bounds what is held."""

    __slots__ = ("_at", "_context", "_has_customs", "_held", "_limit", "_prefilter", "_search")

    def __init__(self, prefilter: re2._Regexp | None, search: Search | None, limit: int, *, has_customs: bool) -> None:
        """Without a prefilter and a search everything passes."""
        self._prefilter = prefilter
        self._search = search
        self._limit = limit
        self._context = b""
        self._held = b""
        self._at = 0                                # of the context, in the text
        self._has_customs = has_customs

    @property
    def is_holding(self) -> bool:
        """Whether something of the text has not gone on."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What may go on. ValueError where a find is longer than may be held."""
        return self._go_on(data, is_last=False)

    def finish(self) -> bytes:
        """The rest; another text may follow."""
        rest = self._go_on(b"", is_last=True)
        self._context, self._at = b"", 0
        return rest

    def _go_on(self, data: bytes, *, is_last: bool) -> bytes:
        prefilter, search = self._prefilter, self._search
        if prefilter is None or search is None:
            return data
        base = len(self._context)
        text = self._context + self._held + data
        finds = search.finds(text) if prefilter.search(text) is not None else []
        cut = len(text) if is_last else _before(self._cut(text, base), finds)
        if len(text) - cut > self._limit:
            raise ValueError("what is found in the text is too long to be held")
        self._held = text[cut:]
        due = [_within(find, base) for find in finds if find[1] > base and find[0] < cut]
        self._keep(text, cut)
        shown = text[base:cut]
        return (search.hidden(shown, due) or b"") if due else shown

    def _keep(self, text: bytes, cut: int) -> None:
        """The context of what comes next; it begins with a word, if there is one."""
        start = max(0, cut - _CONTEXT)
        if start:
            start = max(start, text.find(b" ", start, cut) + 1)
        self._context = text[start:cut]
        self._at += start

    def _cut(self, text: bytes, base: int) -> int:
        """Where what is held begins, by the text alone."""
        size = len(text)
        word = max(text.rfind(space, base) for space in _SPACE) + 1
        cut = word or base
        number = _NUMBER.search(text, len(text.rstrip(_DIGITS)))
        if number is not None:
            cut = max(base, min(cut, number.start()))
        for pattern, longest in ((_LETTERS_TOO, _LONGEST_IBAN), (_DASHES, _LONGEST_DASHES), (_QUOTED, _LONGEST_QUOTED)):
            found = pattern.search(text, max(0, size - longest))
            if found is not None:
                cut = min(cut, max(base, found.start()))
        if self._has_customs:
            cut = min(cut, max(base, size - _CUSTOM))
        if size - cut > _LONGEST_WORD:
            place = self._at + size - _KEPT_OF_WORD             # the same places, however the text comes
            cut = max(base, place - place % _KEPT_OF_WORD - self._at)
        while base < cut < size and 0x80 <= text[cut] < 0xC0:     # not inside a character
            cut -= 1
        return cut


def _before(cut: int, finds: list[Find]) -> int:
    """`cut`, or before the finds that reach it: what is held may still be a part of them."""
    for start, end, _detector, _method in sorted(finds, key=lambda find: find[0], reverse=True):
        if start < cut <= end:
            cut = start
    return cut


def _within(find: Find, base: int) -> Find:
    """A find counted from `base`. One that began before is hidden as a whole from there on."""
    start, end, detector, method = find
    return (start - base, end - base, detector, method) if start >= base else (0, end - base, detector, MaskMethod.REDACT)

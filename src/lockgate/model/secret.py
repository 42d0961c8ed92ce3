"""A value that must not be seen: passwords, tokens, keys.

Kept apart from `str` so that a log line, a traceback's locals or an f-string show a placeholder.
The only way to the content is `reveal()`, which is easy to grep for.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Holds text that `repr`, `str`, formatting and pickling never show."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The content, for the one place that sends it. Never log or store what this returns."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never serialised")

"""What cannot be read: the one error of this package, in the words that PostgreSQL would use.

Kept apart so that every file of the package can raise it without importing the analyzer.
"""

from __future__ import annotations

from typing import Final

from lockgate.errors import LockgateError

SYNTAX_ERROR: Final = "42601"
TOO_COMPLEX: Final = "54001"
NOT_IN_REPERTOIRE: Final = "22021"
TOO_LARGE: Final = "54000"


class NotUnderstood(LockgateError):
    """A statement that is refused because it cannot be read (I4).

    `sqlstate` is what PostgreSQL would answer, `message` its words, `position` the 1-based
    character position in the statement without comments, `hint` what to do, where there is one.
    """

    code = "sql.not_understood"

    def __init__(self, sqlstate: str, message: str, position: int | None = None, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.position = position
        self.hint = hint

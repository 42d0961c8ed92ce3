"""A result that is not there yet, without an event loop.

The pipeline is sans-IO, but two of its stages wait: a person decides, a record becomes durable.
They return a `Pending`; the driver resumes the mediator from its callback. No task, no future, no
thread: whoever resolves it does so on the driver's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pending(Generic[T]):
    """One value to come. `resolve` takes effect once; later calls are ignored.

    `on_withdraw` runs (once) when the asker is gone before the value came, so that a held review
    does not outlive its client.
    """

    __slots__ = ("_callback", "_done", "_value", "on_withdraw")

    def __init__(self, on_withdraw: Callable[[], None] | None = None) -> None:
        self._callback: Callable[[T], None] | None = None
        self._done = False
        self._value: T | None = None
        self.on_withdraw = on_withdraw

    @property
    def is_done(self) -> bool:
        """True once a value is there, or the asker withdrew."""
        return self._done

    def resolve(self, value: T) -> None:
        """Deliver the value: calls the callback now, or as soon as one is set."""
        if self._done:
            return
        self._done = True
        self._value = value
        if self._callback is not None:
            callback, self._callback = self._callback, None
            callback(value)

    def then(self, callback: Callable[[T], None]) -> None:
        """Call `callback(value)` once, when the value is there; at once if it already is."""
        if self._done:
            callback(self._value)  # type: ignore[arg-type]
        else:
            self._callback = callback

    def withdraw(self) -> None:
        """The asker is gone: the callback will not run, `on_withdraw` does."""
        if self._done:
            return
        self._done = True
        self._callback = None
        if self.on_withdraw is not None:
            self.on_withdraw()

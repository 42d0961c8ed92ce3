"""What the masks of one body depend on: what policy hides, where the body comes from, and how far its keys reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from lockgate.govern.masking.keys import MaskKeys
from lockgate.model import ColumnMask, DetectMask

LIMIT: Final = 1 << 20
"""Bytes of one value, event or line that are held at most."""

Renamed = tuple[tuple[str, tuple[str, ...]], ...]
"""Names, case-folded, and what each may stand for, as it is written there; in order."""


class NoNames(ValueError):
    """Running text, where masks are due that go by names and none may go on without them."""


@dataclass(frozen=True, slots=True)
class BodyTerms:
    """Terms of one body.

    `place` are the names around it, that parts of a glob may mean: the connection's first, then the segments of a URL's
    path or the name of a tool. `scope` and `task_scope` are the keys' reach (`MaskTerms.scope`) for masks of the connection
    and of the task; `keys` None means that no key is there, and a mask that needs one redacts. `limit`: bytes held at most
    for one value, event or line. `passes_binary`: parts of a body in parts that nothing can look into may pass. `renamed`:
    names in the body and the ones that they stand for, because the request asked for other names. `refuses_text`: running text
    does not go on where masks are due by name, because they find nothing in it.
    """

    masks: tuple[ColumnMask, ...] = ()
    detects: tuple[DetectMask, ...] = ()
    place: tuple[str, ...] = ()
    scope: bytes = b""
    task_scope: bytes = b""
    keys: MaskKeys | None = None
    limit: int = LIMIT
    passes_binary: bool = False
    renamed: Renamed = ()
    refuses_text: bool = False

    @property
    def is_due(self) -> bool:
        """Whether anything is to be hidden."""
        return bool(self.masks or self.detects)


class BodyMask(Protocol):
    """The masks over one body. `masked` counts what was hidden, by label and by detector. After an exception it must not
    be used again; what `feed` has given back by then has gone through it.
    """

    masked: dict[str, int]

    def feed(self, data: bytes) -> bytes:
        """What may go on of the body so far. ValueError where it is not what it says that it is, or cannot be looked at."""
        ...

    def finish(self) -> bytes:
        """The rest. ValueError where the body is not whole."""
        ...

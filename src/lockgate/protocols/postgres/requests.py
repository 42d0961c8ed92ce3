"""What a client sends by value: literals of statements, parameters, COPY data; before any of it goes on.

Apart from `results`, which is the other direction. Three things happen here, in this order, to each value: a token
that stands where its own column is compared or written becomes the value that it stands for, if policy lets it; a mask
that would be stored is refused; and what detectors find is recorded, replaced or refused, as policy's `requests` say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockgate.analysis.sql import CopyOptions, Literal, Masked, Placed, literals, replaced
from lockgate.govern.masking.copying import CopyFormat, CopyMask
from lockgate.govern.masking.requests import ContentCheck
from lockgate.govern.masking.screen import Columns
from lockgate.govern.masking.tokens import Tokens
from lockgate.model import Decision, MaskMethod, Predicates, Refusal, RefusalCode, RequestAction
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.operations import Seen
from lockgate.protocols.postgres.sessionmasks import SessionMasks

_STORES: Final = frozenset(("insert", "update", "merge"))
_WAY: Final = ("A mask stands for data that you may not see. Leave the column out of the statement, and it stays as it is.")


class Intake:
    """The look at the values of one statement under one decision."""

    __slots__ = ("_check", "_is_update", "_masks", "_placed", "_saw_masks", "_tokens", "refusal")

    def __init__(self, seen: Seen, masked: Masked | None, decision: Decision, masks: SessionMasks | None,
                 *, saw_masks: bool) -> None:
        """`saw_masks`: the session was shown masks, so even a plain zero may be one that comes back."""
        verbs = frozenset() if seen.statement is None else seen.statement.verbs
        guards = bool(decision.masks or decision.detects) and not _STORES.isdisjoint(verbs)
        self._check = ContentCheck(decision.requests, None if masks is None else masks.tokens(), guards=guards)
        self._placed = () if masked is None else masked.placed
        self._masks = masks
        self._is_update = guards and "update" in verbs
        self._saw_masks = saw_masks
        self._tokens: dict[Placed, Tokens] = {}
        self.refusal: Refusal | None = None
        """Why the statement does not go on, once everything has been looked at."""

    def text(self, text: str) -> str:
        """The statement with other values where some have to be replaced; the same object where none has."""
        if not self._placed and self._check.is_idle:
            return text
        by_literal = {placed.literal: placed for placed in self._placed if placed.literal >= 0}
        changes: list[tuple[Literal, str | None]] = []
        for index, literal in enumerate(literals(text)):
            placed = by_literal.get(index)
            data = literal.value.encode("utf-8", "replace")
            opened = None if placed is None else self._opened(placed, data)
            if opened is not None:
                changes.append((literal, opened.decode("utf-8", "replace")))
                continue
            if placed is not None:
                self._refuse_constant(placed, literal.value)
            if literal.is_number:
                new = self._check.number(literal.value)
                if new != literal.value:
                    changes.append((literal, new))
                continue
            shown = self._check.value(data, 0, binary=False)
            if shown is not data:
                changes.append((literal, None if shown is None else shown.decode("utf-8", "replace")))
        self.conclude()
        return replaced(text, changes) if changes else text

    def parameters(self, values: Sequence[bytes | None], formats: tuple[int, ...], types: Sequence[int],
                   shown: Sequence[str | None]) -> tuple[bytes | None, ...]:
        """The values of a Bind, some of them replaced. `shown` are the same values as text."""
        by_number = {placed.number: placed for placed in self._placed if placed.number}
        if not self._placed and self._check.is_idle:
            return tuple(values)
        codes = codec.spread(formats, len(values))
        found: list[bytes | None] = []
        for index, value in enumerate(values):
            if value is None:
                found.append(None)
                continue
            placed = by_number.get(index + 1)
            opened = None if placed is None else self._opened(placed, value)
            if opened is not None:
                found.append(opened)
                continue
            text = shown[index] if index < len(shown) else None
            if placed is not None and text is not None:
                self._refuse_constant(placed, text)
            oid = types[index] if index < len(types) else 0
            found.append(self._check.value(value, oid, binary=bool(codes[index])))
        self.conclude()
        return tuple(found)

    def field(self, value: bytes, *, binary: bool) -> bytes | None:
        """One value of COPY data, which has no type here; ask for `refusal` after `conclude`."""
        return self._check.value(value, 0, binary=binary)

    @property
    def noted(self) -> tuple[str, ...]:
        """What goes on record of the finds, one for each."""
        return tuple(f"sent: {name}" for name, count in self._check.found.items() for _ in range(count))

    # ------------------------------------------------------------ single values

    def _opened(self, placed: Placed, value: bytes) -> bytes | None:
        """What a token stands for, where it goes into a comparison with its own column or into that column."""
        cover, masks = placed.cover, self._masks
        if masks is None or cover.method is not MaskMethod.TOKEN or b"tok_" not in value[:8].lower():
            return None
        if not (cover.returns or (cover.predicates is Predicates.EQUALITY and not placed.is_written)):
            return None
        tokens = self._tokens.get(placed)
        if tokens is None:
            tokens = self._tokens[placed] = masks.tokens(cover)
        opened = tokens.detokenize(value)
        return None if opened is None or opened.kind != "text" else opened.value

    def _refuse_constant(self, placed: Placed, text: str) -> None:
        """An UPDATE that writes the very constant which the column's mask shows, in a session that has seen it."""
        if self._is_update and placed.is_written and self._saw_masks and text == placed.redacted:
            self.refusal = _MASK

    def conclude(self) -> None:
        """Sets `refusal` where something that was looked at must not go on."""
        check = self._check
        if check.has_mask:
            self.refusal = _MASK
        elif check.action is RequestAction.BLOCK:
            names = ", ".join(sorted(check.found))
            self.refusal = Refusal(
                RefusalCode.DENIED, f"the request holds what policy does not let through: {names}",
                hint="Take it out of the statement, its parameters or data. Nothing was executed.")


_MASK: Final = Refusal(RefusalCode.NOT_ENFORCEABLE, "a value of this statement is a mask and would be stored in the place of data",
                       hint=_WAY)


class CopyIntake:
    """The look at the data of one COPY … FROM STDIN, row by row over the borders of messages."""

    __slots__ = ("_intake", "_rows")

    def __init__(self, intake: Intake, options: CopyOptions, limit: int) -> None:
        self._intake = intake
        is_binary = options.format == "binary"
        columns = Columns((), (), lambda value: intake.field(value, binary=is_binary), None)
        marks = CopyFormat(*(mark.encode() for mark in (options.delimiter, options.null, options.quote, options.escape)))
        self._rows = CopyMask(f"copy-{options.format}", marks, lambda: columns, m.COPY_DATA, limit, None, must_read=True)

    def size(self, frames: bytes) -> int:
        """Bytes that `apply` may look at: with a row's end comes all of it."""
        return self._rows.carried + len(frames)

    def apply(self, frames: bytes) -> bytes:
        """The frames as they go on. Raises RemoteProtocolError for data that does not add up."""
        out = self._rows.apply(frames, [])
        self._intake.conclude()
        return out

    @property
    def refusal(self) -> Refusal | None:
        """Why the COPY has to fail."""
        return self._intake.refusal

    @property
    def noted(self) -> tuple[str, ...]:
        """What goes on record of the finds."""
        return self._intake.noted

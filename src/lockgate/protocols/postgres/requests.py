"""What a client sends by value: literals of statements, parameters, COPY data; before any of it goes on.

Apart from `results`, which is the other direction. Three things happen here, in this order, to each value: a token
that stands where its own column is compared or written becomes the value that it stands for, if policy lets it; a mask
that would be stored is refused; and what detectors find is recorded, replaced or refused, as policy's `requests` say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lockgate.analysis.sql import (
    BY_NAME,
    Catalogue,
    CopyOptions,
    Cover,
    Literal,
    Masked,
    Placed,
    Uses,
    literals,
    replaced,
    settings_of,
)
from lockgate.govern.masking.column_types import NUMERIC_OID
from lockgate.govern.masking.constants import is_constant
from lockgate.govern.masking.copying import CopyFormat, CopyMask
from lockgate.govern.masking.requests import ContentCheck, is_json
from lockgate.govern.masking.screen import Columns
from lockgate.govern.masking.tokens import Tokens
from lockgate.model import Decision, MaskMethod, Predicates, Refusal, RefusalCode, RequestAction
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.operations import Seen
from lockgate.protocols.postgres.sessionmasks import SessionMasks
from lockgate.protocols.postgres.values import read_value

_NAME: Final = 19
_WHOLE: Final = frozenset((0, 25, 705, 1042, 1043))
"""Types of a parameter that hold a text as it is: not said, text, unknown, and character types, which have no length here."""
_WORDS: Final = frozenset(("text", "varchar", "bpchar", "name"))
_JSON_MASK: Final = BY_NAME["json"].text.encode()
_STORES: Final = frozenset(("insert", "update", "merge"))
_WAY: Final = ("A mask stands for data that you may not see. Leave the column out of the statement, and it stays as it is.")


class Intake:
    """The look at the values of one statement under one decision."""

    __slots__ = ("_catalogue", "_check", "_explains", "_is_known", "_is_update", "_masks", "_placed", "_saw_masks", "_seen", "_tokens",
                 "refusal")

    def __init__(self, seen: Seen, masked: Masked | None, decision: Decision, masks: SessionMasks | None,
                 *, saw_masks: bool, catalogue: Catalogue | None = None, is_known: bool = True) -> None:
        """`saw_masks`: the session was shown masks, so even a plain zero may be one that comes back. `is_known`: no
        definition has changed in the open transaction, so `catalogue` says what a text sets in motion."""
        verbs = frozenset() if seen.statement is None else seen.statement.verbs
        guards = bool(decision.masks or decision.detects) and not _STORES.isdisjoint(verbs)
        self._seen = seen.base
        self._catalogue = catalogue
        self._is_known = is_known
        self._check = ContentCheck(decision.requests, None if masks is None else masks.tokens(), guards=guards)
        self._placed = () if masked is None else masked.placed
        self._masks = masks
        self._is_update = guards and "update" in verbs
        self._explains = "explain" in verbs
        self._saw_masks = saw_masks
        self._tokens: dict[Cover, Tokens] = {}
        self.refusal: Refusal | None = None
        """Why the statement does not go on, once everything has been looked at."""

    def text(self, text: str) -> str:
        """The statement with other values where some have to be replaced; the same object where none has."""
        if not self._placed and self._check.is_idle:
            return text
        by_literal = _grouped((placed.literal, placed) for placed in self._placed if placed.literal >= 0)
        changes: list[tuple[Literal, str | None]] = []
        constants = literals(text)
        for index, literal in enumerate(constants):
            placed = by_literal.get(index, ())
            data = literal.value.encode("utf-8", "replace")
            opened = self._opened(placed, data) if placed else None
            if opened is not None:
                changes.append((literal, opened.decode("utf-8", "replace")))
                continue
            for one in placed:
                self._refuse_constant(one, literal.value)
            new = self._looked_at(data, NUMERIC_OID if literal.is_number else 0, index, binary=False)
            if new is not data:
                changes.append((literal, None if new is None else new.decode("utf-8", "replace")))
        self._settings(text, {literal.value for literal in constants})
        for one in self._placed:
            if one.text is not None:
                self._refuse_constant(one, one.text)
        self.conclude()
        return replaced(text, changes) if changes else text

    def _settings(self, text: str, known: set[str]) -> None:
        """What SET is given by a name in quotes, which is no literal. It cannot be replaced."""
        statement = self._seen.statement
        if statement is None or not statement.sets or '"' not in text:
            return
        for value in settings_of(text):
            data = value.encode("utf-8", "replace")
            if value not in known and self._check.value(data, 0, binary=False) is not data:
                self.refusal = self.refusal or _NOT_DATA

    def parameters(self, values: Sequence[bytes | None], formats: tuple[int, ...], types: Sequence[int],
                   shown: Sequence[str | None]) -> tuple[bytes | None, ...]:
        """The values of a Bind, some of them replaced. `shown` are the same values as text."""
        by_number = _grouped((placed.number, placed) for placed in self._placed if placed.number)
        if not self._placed and self._check.is_idle:
            return tuple(values)
        codes = codec.spread(formats, len(values))
        found: list[bytes | None] = []
        for index, value in enumerate(values):
            if value is None:
                found.append(None)
                continue
            oid = types[index] if index < len(types) else 0
            placed = by_number.get(index + 1, ())
            opened = self._opened(placed, value, oid) if placed else None
            if opened is not None:
                found.append(opened)
                continue
            for one in placed:
                kind = BY_NAME.get(one.base)
                text = read_value(value, kind.oid) if codes[index] and not oid and kind is not None else (
                    shown[index] if index < len(shown) else None)
                if text is not None:
                    self._refuse_constant(one, text)
            found.append(self._looked_at(value, oid, -1 - index, binary=bool(codes[index])))
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

    def _opened(self, placed: Sequence[Placed], value: bytes, oid: int = 0) -> bytes | None:
        """What a token stands for, where it goes as a whole into a comparison with its own column or into that column,
        and nothing can show it there. `oid`: the type that a parameter was given, which may not be one that cuts."""
        masks, one = self._masks, placed[0]
        cover = one.cover
        if masks is None or cover.method is not MaskMethod.TOKEN or b"tok_" not in value[:8].lower():
            return None
        if not (cover.returns or (cover.predicates is Predicates.EQUALITY and not one.is_written)):
            return None
        tokens = self._tokens.get(cover)
        if tokens is None:
            tokens = self._tokens[cover] = masks.tokens(cover)
        opened = tokens.detokenize(value)
        if opened is None or opened.kind != "text":
            return None
        if (one.number or self._is_known) and all(other.opens and other.cover == cover for other in placed) and (oid in _WHOLE or (oid == _NAME and one.base == "name")):
            return opened.value
        if not self._explains:
            self.refusal = _NOT_OPENED
        return None

    def _refuse_constant(self, placed: Placed, text: str) -> None:
        """An UPDATE that writes the very constant which the column's mask shows, in a session that has seen it."""
        if self._is_update and placed.is_written and self._saw_masks and is_constant(placed.base, placed.redacted, text):
            self.refusal = _MASK

    def _looked_at(self, value: bytes, oid: int, place: int, *, binary: bool) -> bytes | None:
        """A value that stays what it is, or goes on with its finds replaced. `place`: of a literal among the literals; of
        a parameter -1 for the first, and so on."""
        check, had_mask = self._check, self._check.has_mask
        new = check.value(value, oid, binary=binary)
        if check.has_mask and not had_mask and self._is_at(place, self._seen.data.compared):
            check.has_mask = False                      # nothing is stored where it stands
        if new is value:
            return value
        if not self._is_at(place, self._seen.data.data):
            self.refusal = self.refusal or _NOT_DATA
        return new if binary or (oid and oid != NUMERIC_OID) else self._fitting(value, new, place)

    @staticmethod
    def _is_at(place: int, uses: Uses) -> bool:
        return place in uses.literals if place >= 0 else -place in uses.parameters

    def _fitting(self, value: bytes, new: bytes | None, place: int) -> bytes | None:
        """What takes the place of a value whose type was not said: something that is valid for the column, if any."""
        column = self._seen.data.columns.get(place)
        bases = set() if column is None or self._catalogue is None else {
            one.base or "" for relation in self._catalogue.candidates(column[0], column[1])
            for number, one in enumerate(relation.columns) if column[2] in (one.name, number)}
        if len(bases) != 1 or new is None:
            return new
        (base,) = bases
        if base in _WORDS or base.removeprefix("_") in _WORDS or not base:
            return new
        if base in ("json", "jsonb"):
            return new if is_json(new) or not is_json(value) else _JSON_MASK
        kind = BY_NAME.get(base)
        if kind is None:
            self.refusal = self.refusal or _NOT_DATA
        return kind.text.encode() if kind is not None else new

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


def _grouped(pairs: Iterable[tuple[int, Placed]]) -> dict[int, list[Placed]]:
    found: dict[int, list[Placed]] = {}
    for key, placed in pairs:
        found.setdefault(key, []).append(placed)
    return found


_NOT_DATA: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "the request holds a value that policy replaces, and not where it is only stored or shown: "
    "another one there could change what the statement does",
    hint="Take it out of conditions and computations. Values of INSERT and SET, and columns of a result, can be replaced.")
_NOT_OPENED: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "a token cannot be turned back into its value where it stands: a part of the value, or the "
    "statement's text, could be shown",
    hint="Compare it with its own column, or write it there, without a cast, in a SELECT, INSERT, UPDATE, DELETE or MERGE "
         "that is sent alone; best as a parameter.")
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

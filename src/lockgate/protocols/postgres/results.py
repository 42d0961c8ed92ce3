"""What a backend's words become before a client reads them: mask plans, witnesses, rebuilt errors.

Apart from the server side, which decides *when*; here is decided *what*. Rules: a statement that
touches a labelled relation has its errors rebuilt from SQLSTATE, severity, relation and constraint
(masking design, "Every message that carries a value"); a column that mechanism A should have hidden
and that shows up in a RowDescription is a disagreement, and the session ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lockgate.analysis.sql import CopyOut
from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.copying import CopyFormat
from lockgate.govern.masking.detection import DetectPlan, PassPlan, holds_find, plan_for
from lockgate.govern.pipeline import ClearPlan, Grant
from lockgate.model import DetectMask
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.codec import Column
from lockgate.protocols.postgres.sqlstates import PLAIN_TEXT, condition
from lockgate.protocols.postgres.states import Owed, Reply

PASS: Final = PassPlan()
"""The plan of results in which nothing is looked for."""

_PLACES: Final = ("s", "t", "n")        # schema, table, constraint


def detects_of(grant: Grant | None) -> tuple[DetectMask, ...]:
    """The detectors in force for a request."""
    return () if grant is None else grant.decision.detects


def row_plan(reply: Reply) -> ClearPlan:
    """The plan for the rows of `reply`, from its columns; kept until the result is over."""
    plan = reply.plan
    if plan is None:
        plan = reply.plan = _row_plan(reply)
    return plan


def _row_plan(reply: Reply) -> ClearPlan:
    grant = reply.grant
    if grant is None:
        raise RemoteProtocolError("rows came for a message that asked for none")
    detects = grant.decision.detects
    if not detects:
        return PASS
    columns = reply.columns
    if reply.owed is Owed.EXECUTE:
        portal = reply.portal
        if portal is None:
            raise RemoteProtocolError("rows came for a message that asked for none")
        columns = portal.columns or portal.prepared.columns or ()
        formats = _spread(portal.result_formats, len(columns))
    else:
        formats = tuple(column.format for column in columns)
    return plan_for(detects, tuple(column.type for column in columns), formats, "rows", m.DATA_ROW)


def copy_plan(reply: Reply, formats: tuple[int, ...]) -> ClearPlan:
    """The plan for the data of a COPY OUT; `formats` are those of its CopyOutResponse."""
    grant = reply.grant
    if grant is None:
        raise RemoteProtocolError("COPY data came for a message that asked for none")
    detects = grant.decision.detects
    if not detects:
        return PASS
    stated = _stated(reply)
    if (stated.format == "binary") != any(formats):
        raise RemoteProtocolError("a COPY runs in another format than its statement says")
    if stated.format == "binary":
        return DetectPlan(detects, (), (), "copy-binary", m.COPY_DATA)
    options = CopyFormat(*(mark.encode() for mark in (stated.delimiter, stated.null, stated.quote, stated.escape)))
    return DetectPlan(detects, (), (), "copy-csv" if stated.format == "csv" else "copy-text", m.COPY_DATA, options)


def _stated(reply: Reply) -> CopyOut:
    """What the statement says of this COPY (its string may hold several): the response only tells binary."""
    statement = None if reply.seen is None else reply.seen.statement
    stated = () if statement is None else statement.copies_out
    if reply.copies >= len(stated) or stated[reply.copies].problem is not None:
        raise RemoteProtocolError("a COPY runs that its statement does not describe")
    reply.copies += 1
    return stated[reply.copies - 1]


def _spread(codes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Result formats of Bind: none is text for all, one is for all, else one each."""
    if not codes:
        return (0,) * count
    return codes * count if len(codes) == 1 else codes


def is_contradicted(labelled: frozenset[tuple[int, int]], columns: tuple[Column, ...]) -> bool:
    """Second witness: a column that should have been replaced at its source is there by itself."""
    return any((column.table, column.attribute) in labelled for column in columns)


# ---------------------------------------------------------------- errors and notices


def rebuilt(kind: int, fields: Mapping[str, str]) -> bytes | None:
    """An ErrorResponse or NoticeResponse without anything that could be a value of a row.

    None for a notice of which nothing may be said.
    """
    code = fields.get("C", "")
    speaks_plainly = code in PLAIN_TEXT and "W" not in fields
    if kind == m.NOTICE_RESPONSE and not speaks_plainly:
        return None
    known, name = condition(code)
    severity = fields.get("V", "ERROR")
    values = [("S", severity), ("V", severity), ("C", known)]
    values.append(("M", fields.get("M", name) if speaks_plainly else name.replace("_", " ")))
    if not speaks_plainly:
        values.append((
            "H", "The server's own text is withheld: this statement touches data that is masked for you.",
        ))
    if known.startswith("23") and "W" not in fields:
        values += [(letter, fields[letter]) for letter in _PLACES if letter in fields]
    return codec.fields(kind, values)


def without_position(kind: int, fields: Mapping[str, str]) -> bytes:
    """The same message without the offset into a text that the client never saw."""
    return codec.fields(kind, [(letter, value) for letter, value in fields.items() if letter != "P"])


def holds_detected(detects: tuple[DetectMask, ...], fields: Mapping[str, str]) -> bool:
    """True if a detector in force finds something in the text of an error or notice."""
    return holds_find(detects, " \n".join(fields.values()).encode("utf-8", "replace"))

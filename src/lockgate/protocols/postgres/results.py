"""What a backend's words become before a client reads them: mask plans, witnesses, rebuilt errors.

Apart from the server side, which decides *when*; here is decided *what*. Rules: a statement that
touches a labelled relation has its errors rebuilt from SQLSTATE, severity, relation and constraint
(masking design, "Every message that carries a value"); a column that mechanism A should have hidden
and that shows up in a RowDescription is a disagreement, and the session ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lockgate.analysis.sql import Catalogue, CopyOptions, ResultMask, ShownColumn
from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.columns import row_plan as column_rows
from lockgate.govern.masking.copying import CopyFormat
from lockgate.govern.masking.detection import DetectPlan, PassPlan, holds_find, plan_for
from lockgate.govern.masking.detector import Origin
from lockgate.govern.masking.detectors import detectors_for
from lockgate.govern.masking.screen import needs_types
from lockgate.govern.pipeline import ClearPlan, Grant
from lockgate.model import DetectMask
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.codec import Column
from lockgate.protocols.postgres.sessionmasks import SessionMasks
from lockgate.protocols.postgres.sqlstates import PLAIN_TEXT, PLAIN_WHERE_PARSED, condition
from lockgate.protocols.postgres.states import Owed, Reply

PASS: Final = PassPlan()
"""The plan of results in which nothing is looked for."""

_MOST_NAMED: Final = 32
_TEXT_OID: Final = 25
_PLACES: Final = ("s", "t", "n")        # schema, table, constraint


def detects_of(grant: Grant | None) -> tuple[DetectMask, ...]:
    """The detectors in force for a request."""
    return () if grant is None else grant.decision.detects


def row_plan(reply: Reply, masks: SessionMasks | None, catalogue: Catalogue | None) -> ClearPlan:
    """The plan for the rows of `reply`, from its columns; kept until the result is over."""
    plan = reply.plan
    if plan is None:
        plan = reply.plan = _row_plan(reply, masks, catalogue)
    return plan


def _row_plan(reply: Reply, masks: SessionMasks | None, catalogue: Catalogue | None) -> ClearPlan:
    grant = reply.grant
    if grant is None:
        raise RemoteProtocolError("rows came for a message that asked for none")
    detects = grant.decision.detects
    results = () if reply.masked is None else reply.masked.results
    if not detects and not results:
        return PASS
    columns = reply.columns
    if reply.owed is Owed.EXECUTE:
        portal = reply.portal
        if portal is None:
            raise RemoteProtocolError("rows came for a message that asked for none")
        columns = portal.columns or portal.prepared.columns or ()
        formats = codec.spread(portal.bind.result_formats, len(columns))
    else:
        formats = tuple(column.format for column in columns)
    if results:
        if masks is None:
            raise RemoteProtocolError("a mask is due that needs a key, and there is none")
        terms = {result.index: masks.terms(result) for result in results}
        types = tuple(ColumnType(column.type, column.modifier) for column in columns)
        return column_rows(terms, types, formats, masks.keys, detects, m.DATA_ROW,
                           _origins(detects, columns, catalogue))
    return plan_for(detects, tuple(column.type for column in columns), formats, "rows", m.DATA_ROW,
                    detectors=detectors_for(detects), origins=_origins(detects, columns, catalogue))


def _origins(detects: tuple[DetectMask, ...], columns: tuple[Column, ...],
             catalogue: Catalogue | None) -> tuple[Origin | None, ...]:
    """Where each column comes from, for detectors that look in some columns only; nothing where there are none."""
    if catalogue is None or not any(custom.columns for mask in detects for custom in mask.customs):
        return ()
    found: list[Origin | None] = []
    for column in columns:
        relation = catalogue.by_oid.get(column.table)
        name = None if relation is None else next(
            (one.name for one in relation.columns if one.number == column.attribute), None)
        found.append(None if relation is None or name is None else (relation.schema, relation.name, name))
    return tuple(found)


def copy_plan(reply: Reply, formats: tuple[int, ...], stated: CopyOptions | None) -> ClearPlan:
    """The plan for the data of a COPY OUT; `formats` are those of its CopyOutResponse."""
    grant = reply.grant
    if grant is None:
        raise RemoteProtocolError("COPY data came for a message that asked for none")
    detects = grant.decision.detects
    if not detects:
        return PASS
    if stated is None or stated.problem is not None:
        raise RemoteProtocolError("a COPY runs that its statement does not describe")
    if (stated.format == "binary") != any(formats):
        raise RemoteProtocolError("a COPY runs in another format than its statement says")
    if stated.format == "binary":
        if hides_from(detects, stated):
            raise RemoteProtocolError("a binary COPY runs in which numbers cannot be told")
        return DetectPlan(detects, (), (), "copy-binary", m.COPY_DATA, detectors=detectors_for(detects))
    options = CopyFormat(*(mark.encode() for mark in (stated.delimiter, stated.null, stated.quote, stated.escape)))
    return DetectPlan(detects, (), (), "copy-csv" if stated.format == "csv" else "copy-text", m.COPY_DATA, options,
                      detectors=detectors_for(detects))


def hides_from(detects: tuple[DetectMask, ...], copy: CopyOptions) -> bool:
    """Whether a COPY OUT would hide from a detector in force what it looks for: in binary it names no types."""
    return copy.format == "binary" and needs_types(detects, detectors_for(detects))


def stated(reply: Reply) -> CopyOptions | None:
    """What the statement says of this COPY (its string may hold several): the response only tells binary."""
    statement = None if reply.seen is None else reply.seen.statement
    found = () if statement is None else statement.copies_out
    reply.copies += 1
    return found[reply.copies - 1] if reply.copies <= len(found) else None


def is_contradicted(labelled: frozenset[tuple[int, int]], columns: tuple[Column, ...],
                    results: tuple[ResultMask, ...]) -> bool:
    """Second witness: a column that should have been replaced at its source, and that no mask waits for, is there."""
    due = {result.index: result.sources for result in results}
    return any(
        (column.table, column.attribute) in labelled and (column.table, column.attribute) not in due.get(index, ())
        for index, column in enumerate(columns))


# ---------------------------------------------------------------- errors and notices


def rebuilt(kind: int, fields: Mapping[str, str], has_find: bool = False) -> bytes | None:
    """An ErrorResponse or NoticeResponse without anything that could be a value of a row. With `has_find` a detector
    found something in it, so nothing of its text is left.

    None for a notice of which nothing may be said.
    """
    code = fields.get("C", "")
    is_plain = code in PLAIN_TEXT or (code in PLAIN_WHERE_PARSED and "P" in fields)
    speaks_plainly = is_plain and not has_find and "W" not in fields
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
    if known.startswith("23") and "W" not in fields and not has_find:
        values += [(letter, fields[letter]) for letter in _PLACES if letter in fields]
    return codec.fields(kind, values)


def honesty(shown: tuple[ShownColumn, ...]) -> bytes:
    """The NoticeResponse that says which columns of a result are masks, so that nobody takes them for facts."""
    names = [f"{column.name} ({', '.join(sorted(column.labels))})" for column in shown[:_MOST_NAMED]]
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    rules = sorted(frozenset().union(*(column.rules for column in shown)))
    values = [("S", "NOTICE"), ("V", "NOTICE"), ("C", "01000"), ("M", f"masked columns: {', '.join(names)}{more}")]
    if rules:
        values.append(("D", f"rules: {', '.join(rules)}"))
    values.append(("H", "What these columns show are masks and not the data."))
    return codec.fields(m.NOTICE_RESPONSE, values)


def without_position(kind: int, fields: Mapping[str, str]) -> bytes:
    """The same message without the offset into a text that the client never saw."""
    return codec.fields(kind, [(letter, value) for letter, value in fields.items() if letter != "P"])


def holds_detected(detects: tuple[DetectMask, ...], fields: Mapping[str, str]) -> bool:
    """True if a detector in force finds something in the text of an error or notice."""
    return holds_find(detects, " \n".join(fields.values()).encode("utf-8", "replace"), detectors_for(detects))

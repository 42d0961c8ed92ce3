"""Masking at the source: every read of a protected relation becomes a read of a masked projection.

    FROM customers c   →   FROM (SELECT "id", 'xxxx'::text AS "ssn" FROM "public"."customers") c

The text is spliced at the parser's own byte offsets; the rest stays as it came. The whole statement
then is a function of masked data, whatever it does with it. What this cannot cover is refused, and
the result is parsed once more to verify that no protected relation is read outside of the splices.
"""

from __future__ import annotations

import hashlib

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.labels import Labels, Reach, labels_for
from lockgate.analysis.sql.masks import quote_name
from lockgate.analysis.sql.permitted import (
    created_reason,
    definition_reason,
    rules_reason,
    target_reason,
    use_reason,
    utility_reason,
)
from lockgate.analysis.sql.projection import MAX_LENGTH, Projections, Refused, refuse, system_columns
from lockgate.analysis.sql.reading import Reading, Use
from lockgate.analysis.sql.routines.calls import calls_of
from lockgate.analysis.sql.session import SessionNames
from lockgate.analysis.sql.splice import Splices, Unspliceable, reparse
from lockgate.analysis.sql.statement import Masked, Statement
from lockgate.model import ColumnMask, Refusal, RefusalCode


def plan(statement: Statement, masks: tuple[ColumnMask, ...], catalogue: Catalogue,
         session: SessionNames) -> Masked | Refusal:
    """The masked statement, or why there is none. Raises nothing on any input that parsed."""
    try:
        return _Plan(statement, masks, catalogue, session).run()
    except Refused as refused:
        return refused.refusal
    except Unspliceable as error:
        return Refusal(RefusalCode.NOT_ENFORCEABLE, f"a mask is due that this statement cannot carry: {error}")
    except RecursionError:
        return Refusal(RefusalCode.NOT_ENFORCEABLE, "a mask is due and the views are nested too deeply")


class _Plan:
    def __init__(self, statement: Statement, masks: tuple[ColumnMask, ...], catalogue: Catalogue,
                 session: SessionNames) -> None:
        self.statement = statement
        self.masks = masks
        self.catalogue = catalogue
        self.session = session
        self.labels: Labels = labels_for(masks, catalogue)
        self.projections = Projections(masks, self.labels, catalogue)
        self.touched = False
        self.pins: dict[int, Relation] = {}         # names that the search path decided, by their position

    def run(self) -> Masked:
        statement, reading = self.statement, self.statement.reading
        if statement.forbidden is not None:
            raise refuse(statement.forbidden, code=RefusalCode.UNSUPPORTED)
        if reading is None:
            raise refuse("the statement was not read", code=RefusalCode.INTERNAL)
        if not self.catalogue.is_utf8 and not statement.text.isascii():
            raise refuse("names outside ASCII mean something else on a database whose encoding is not UTF8",
                          "write text outside ASCII as U&'…' or as a parameter")
        self._session_names(statement)
        self._code(reading)
        for name, body in reading.utilities:
            why = utility_reason(name, body)
            if why is not None:
                raise refuse(why)
        splices = Splices(statement.text.encode())
        replaced = self._uses(reading, splices)
        self._targets(reading)
        splices.unqualify_all(reading, replaced)
        if not splices:
            return Masked(statement.text, self.touched, "", self.labels.pairs, self.labels.digest)
        return self._finish(splices)

    def _code(self, reading: Reading) -> None:
        """Functions and other code that the statement runs: admitted, or the statement is refused."""
        verdicts = self.labels.verdicts
        obstacle = verdicts.obstacle(reading)
        if obstacle is not None and obstacle.shows:
            raise refuse(f"{obstacle.call} cannot be called on this connection: {obstacle.reason}",
                         "use functions that do not read protected columns, or ask for access to them")
        if obstacle is not None:
            raise refuse(f"its effect cannot be analysed ({obstacle.call}: {obstacle.reason}), and this connection has "
                         "protected columns", "use plain queries and functions whose SQL is written out")
        if self.session.defines_code and any(True for _ in calls_of(reading, self.catalogue)):
            raise refuse("it calls a function, and this transaction may have defined one that is not known yet",
                         "end the transaction first")
        self.touched = self.touched or verdicts.touches(reading) or (
            bool(reading.utilities) and verdicts.redefining_speaks())

    def _finish(self, splices: Splices) -> Masked:
        data, intervals = splices.apply()
        if len(data) > MAX_LENGTH:
            raise refuse("the statement would become too long under the masks", code=RefusalCode.TOO_LARGE)
        text = data.decode()
        again = reparse(text, self.statement.count)
        for use in again.uses:
            if use.kind in ("read", "copy") and not intervals.covers(use.location):
                found, _ = self._candidates(use)
                if any(self.labels.reach_of(relation) is not Reach.OPEN for relation in found) and not (
                        use.kind == "copy" and self.statement.copy == "in"):
                    raise refuse("a mask is due that this statement cannot carry")
        digest = hashlib.sha256(self.labels.digest.encode() + data)
        return Masked(text, True, digest.hexdigest(), self.labels.pairs, self.labels.digest)

    # ---------------------------------------------------------------- names

    def _session_names(self, statement: Statement) -> None:
        own = {name for name, _ in statement.prepares}
        for name in statement.executes:
            if name in own:
                continue
            candidates = self.session.prepared(name)
            if not candidates:
                raise refuse(f'prepared statement "{name}" is not known in this session',
                              code=RefusalCode.UNKNOWN_OBJECT)
            for inner, digest in candidates:
                self._prepared(inner, digest)
        for name in statement.cursors_fetched:
            if name not in statement.cursors_declared and not self.session.has_cursor(name):
                raise refuse(f'cursor "{name}" is not known in this session', code=RefusalCode.UNKNOWN_OBJECT)
            if any(digest != self.labels.digest for digest in self.session.cursor_digests(name)):
                raise refuse("the cursor was opened under other masks", "open it again")
            self.touched = True

    def _prepared(self, inner: Statement, digest: str) -> None:
        if inner.shape is not None:     # only whether it is refused or touches a label is asked here
            inner = inner.shape.statement
        planned = plan(inner, self.masks, self.catalogue, self.session)
        if isinstance(planned, Refusal):
            raise Refused(planned)
        if digest != self.labels.digest:
            raise refuse("the statement was prepared under other masks", "prepare it again")
        self.touched = self.touched or planned.touches_labelled

    def _candidates(self, use: Use) -> tuple[tuple[Relation, ...], bool]:
        """Relations that the name may mean, and whether the session may have made one of that name."""
        in_session = self.session.has_relation(use.schema, use.name)
        reading = self.statement.reading
        if reading is not None and not in_session:
            in_session = any(
                name == use.name and (use.schema in (None, schema) or schema is None)
                for schema, name in reading.created)
        if use.schema == "pg_temp":
            return (), in_session
        return self.catalogue.candidates(use.schema, use.name), in_session

    # ---------------------------------------------------------------- uses

    def _uses(self, reading: Reading, splices: Splices) -> set[tuple[str, str]]:
        """Splices every read; returns the (schema, relation) pairs that were replaced under their own name."""
        replaced: set[tuple[str, str]] = set()
        for use in reading.uses:
            found, in_session = self._candidates(use)
            if len(found) > 1 and not in_session and use.location >= 0 and use.kind != "create":
                found = self._pinned(use, found, splices)
            if use.kind == "create":
                why = created_reason(use, found, self.labels)
                if why is not None:
                    raise refuse(why)
                continue
            if not found and not in_session:
                if use.context == "DropStmt":
                    continue
                name = use.name if use.schema is None else f"{use.schema}.{use.name}"
                raise refuse(f'relation "{name}" does not exist', code=RefusalCode.UNKNOWN_OBJECT)
            protected = [relation for relation in found if self.labels.reach_of(relation) is not Reach.OPEN]
            if use.kind == "target":
                for relation in found:
                    why = rules_reason(relation, self.labels, self.catalogue)
                    if why is not None:
                        raise refuse(why)
            if use.kind in ("target", "utility") or (use.kind == "copy" and self.statement.copy == "in"):
                self._set_in_motion(use, found)
            if not protected:
                continue
            self.touched = True
            if use.context == "DropStmt":
                continue
            if len(found) > 1 or (in_session and use.schema is None):
                raise refuse(f'the name "{use.name}" can mean several relations here',
                              "write the schema before the relation's name")
            self._protected_use(use, protected[0], reading, splices)
            if use.kind == "read" and use.alias is None:
                replaced.add((protected[0].schema, use.name))
        return replaced

    def _pinned(self, use: Use, found: tuple[Relation, ...], splices: Splices) -> tuple[Relation, ...]:
        """The one of several relations that the search path means, where any of them is protected: what goes on
        names it with its schema, so that nothing rests on the path but the choice."""
        if self.session.path is None or all(self.labels.reach_of(relation) is Reach.OPEN for relation in found):
            return found
        by_schema = {relation.schema: relation for relation in found}
        for schema in ("pg_catalog", *self.session.path):
            relation = by_schema.get(schema)
            if relation is not None:
                self.pins[use.location] = relation
                if self.labels.reach_of(relation) is Reach.OPEN or use.kind != "read":
                    splices.pin(use, relation.schema)
                return (relation,)
        return found

    def _set_in_motion(self, use: Use, found: tuple[Relation, ...]) -> None:
        """What a change of these relations does to others: refused, or their errors are rebuilt."""
        for relation in found:
            if use.kind == "copy" and relation.is_system:
                raise refuse("system catalogues cannot be changed here")
            why = definition_reason(use, relation, self.labels, self.catalogue)
            if why is not None:
                raise refuse(why)
            if self.labels.verdicts.escapes(relation):
                raise refuse("a trigger of the relation puts protected values where they cannot be masked")
            self.touched = self.touched or self.labels.verdicts.reacts(relation)

    def _protected_use(self, use: Use, relation: Relation, reading: Reading, splices: Splices) -> None:
        if use.kind == "utility":
            why = use_reason(use, relation, self.labels, reading.utilities)
            if why is not None:
                raise refuse(why)
            return
        if use.kind == "target":
            return
        if self.labels.reach_of(relation) is Reach.CLOSED:
            raise refuse(f'relation "{use.name}" is closed on connections with protected columns')
        if use.kind == "copy":
            self._copy(use, relation, reading, splices)
            return
        sample = splices.take_sample(use)
        splices.relation(use, self.projections.of(relation, use.inherit, system_columns(reading), sample))

    def _copy(self, use: Use, relation: Relation, reading: Reading, splices: Splices) -> None:
        body = next((body for name, body in reading.utilities if name == "CopyStmt"
                     and body.get("relation", {}).get("location", 0) == use.location), None)
        if body is None:
            raise refuse("a mask is due that this COPY cannot carry")
        if body.get("is_from"):
            return
        if "filename" in body or body.get("is_program"):
            raise refuse("COPY of a relation with protected columns is possible to STDOUT only")
        columns = [item.get("String", {}).get("sval", "") for item in body.get("attlist", ())]
        if not columns:
            columns = [column.name for column in relation.columns if column.generated is None]
        inherit = relation.kind != "r"              # COPY of a plain table leaves its children out
        projection = self.projections.of(relation, inherit)
        listed = ", ".join(quote_name(column) for column in columns)
        splices.copy(use, bool(body.get("attlist")), f"(SELECT {listed} FROM {projection} AS t)")  # noqa: S608 - quoted names

    # ---------------------------------------------------------------- targets

    def _targets(self, reading: Reading) -> None:
        for target in reading.targets:
            pinned = self.pins.get(target.use.location)
            for relation in self._candidates(target.use)[0] if pinned is None else (pinned,):
                if self.labels.reach_of(relation) is Reach.OPEN:
                    continue
                why = target_reason(target, relation, self.labels, self.catalogue)
                if why is not None:
                    raise refuse(why, "name only columns that are not protected, or ask for access to them")

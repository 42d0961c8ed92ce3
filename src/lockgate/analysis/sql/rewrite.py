"""Masking at the source: every read of a protected relation becomes a read of a masked projection.

    FROM customers c   →   FROM (SELECT "id", 'xxxx'::text AS "ssn" FROM "public"."customers") c

The text is spliced at the parser's own byte offsets; the rest stays as it came. The whole statement
then is a function of masked data, whatever it does with it. What this cannot cover is refused, and
the result is parsed once more to verify that no protected relation is read outside of the splices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from lockgate.analysis.sql.catalogue import Catalogue, Column, Relation
from lockgate.analysis.sql.dropping import dropped_reason
from lockgate.analysis.sql.grouping import regroup
from lockgate.analysis.sql.labels import Labels, Reach, labels_for
from lockgate.analysis.sql.literals import literal_places
from lockgate.analysis.sql.masks import TEXTUAL, quote_name, redacted
from lockgate.analysis.sql.parser import nodes
from lockgate.analysis.sql.permitted import (
    Indexed,
    counts_reason,
    created_reason,
    definition_reason,
    indexed,
    named_reason,
    place_reason,
    referred,
    rules_reason,
    use_reason,
    utility_reason,
)
from lockgate.analysis.sql.placement import Placed, constants, literal_of, may_open, parameter_uses
from lockgate.analysis.sql.predicates import NOTHING, Lookup, Predication, ShownColumn, is_plain_query
from lockgate.analysis.sql.projection import (
    MAX_LENGTH,
    Projections,
    Refused,
    closed,
    refuse,
    system_columns,
)
from lockgate.analysis.sql.reading import Node, Reading, Target, Use
from lockgate.analysis.sql.returning import Returning, is_alone_in
from lockgate.analysis.sql.routines.calls import calls_of
from lockgate.analysis.sql.session import SHOWS_VALUES, SessionNames
from lockgate.analysis.sql.splice import STAND_IN, Splices, Unspliceable, parsed, reparse
from lockgate.analysis.sql.statement import Masked, Statement
from lockgate.analysis.sql.taint import Budget, Source, Taint, taint_of
from lockgate.model import ColumnMask, Refusal, RefusalCode

_LOOKED_INTO: Final = frozenset((
    "SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt", "ExplainStmt", "PrepareStmt",
    "DeclareCursorStmt", "CreateTableAsStmt", "ViewStmt",
))
"""Statements that evaluate something."""

_MOST_PLACES: Final = 1_000
"""Each place where a protected relation is named grows by the whole projection."""

_MOST_TARGETS: Final = 64
"""Each name in RETURNING is looked for in each of them."""


def plan(statement: Statement, masks: tuple[ColumnMask, ...], catalogue: Catalogue,
         session: SessionNames, trees: Sequence[Node] | None = None) -> Masked | Refusal:
    """The masked statement, or why there is none. Raises nothing on any input that parsed.

    `trees` are those of the statement's text, where they are at hand.
    """
    try:
        return _Plan(statement, masks, catalogue, session, trees).run()
    except Refused as refused:
        return refused.refusal
    except Unspliceable as error:
        return Refusal(RefusalCode.NOT_ENFORCEABLE, f"a mask is due that this statement cannot carry: {error}")
    except RecursionError:
        return Refusal(RefusalCode.NOT_ENFORCEABLE, "a mask is due and the views are nested too deeply")


class _Plan:
    def __init__(self, statement: Statement, masks: tuple[ColumnMask, ...], catalogue: Catalogue,
                 session: SessionNames, trees: Sequence[Node] | None) -> None:
        self.statement = statement
        self.masks = masks
        self.catalogue = catalogue
        self.session = session
        self.labels: Labels = labels_for(masks, catalogue)
        self.projections = Projections(masks, self.labels, catalogue)
        self.trees = trees
        self.spliced: dict[int, Relation] = {}      # reads that a sub-select stands for, by their position
        self.verdict = NOTHING
        self.lookups: tuple[Lookup, ...] = ()
        self.executed: tuple[Lookup, ...] = ()      # those of what EXECUTE runs
        self.placed: tuple[Placed, ...] = ()
        self.handed: tuple[Placed, ...] = ()        # … of what EXECUTE runs
        self.shown: tuple[ShownColumn, ...] = ()
        self.touched = False
        self.system: frozenset[str] | None = None   # system columns that the text names
        self.made: dict[str, set[str | None]] = {}  # relations that the text makes: name → schemas
        if statement.reading is not None:
            for where, name in statement.reading.created:
                self.made.setdefault(name, set()).add(where)
        self.judged: set[tuple[str, int]] = set()   # changes of relations: context, OID
        self.indexes: Indexed | None = None
        self.keys: dict[int, frozenset[str]] = {}   # what its foreign keys refer to, by position
        self.copies: dict[int, Node] | None = None  # COPY statements by the position of their relation
        self.targets: dict[int, list[tuple[Target, Relation]]] = {}     # what DML changes, by statement
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
            why = dropped_reason(name, body, self.labels, self.catalogue)
            if why is not None:
                raise refuse(why, "Leave it, or ask those who own the database and the policy to mask those columns first.")
        why = named_reason(reading, self.labels)
        if why is not None:
            raise refuse(why, "Choose another name. If the relation is there already, leave this statement out.")
        splices = Splices(statement.text.encode())
        if self._reads_protected(reading):
            self._predicates(reading, splices)
        replaced = self._uses(reading, splices)
        if self.spliced and reading.groups:
            regroup(self.parsed(), self.spliced, self.catalogue, splices)
        splices.unqualify_all(reading, replaced)
        if not splices:
            return self._masked(statement.text, "")
        return self._finish(splices)

    def _masked(self, text: str, digest: str) -> Masked:
        verdict = self.verdict
        return Masked(text, self.touched or bool(digest), digest, self.labels.pairs, self.labels.digest, verdict.results,
                      self.lookups + self.executed, self.placed + self.handed, self.shown)

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
        self._keep_in_place(verdicts.fills(calls_of(reading, self.catalogue)))
        self.touched = self.touched or verdicts.touches(reading) or (
            bool(reading.utilities) and verdicts.redefining_speaks())

    def _keep_in_place(self, filled: frozenset[tuple[str | None, str]]) -> None:
        """What triggers write to must be what the catalogue knows by that name, not something of this session's, which may
        have made it before there was such a trigger."""
        for schema, name in filled:
            if not self.session.knows_all or self.session.has_relation(schema, name):
                raise refuse(
                    f'a trigger puts protected values into "{name}", and this session may have made a relation of that name',
                    "end the transaction and drop temporary relations of that name first")

    def _finish(self, splices: Splices) -> Masked:
        data = splices.apply()
        if len(data) > MAX_LENGTH:
            raise refuse("the statement would become too long under the masks", code=RefusalCode.TOO_LARGE)
        outline, intervals = splices.outline()
        again = reparse(outline, self.statement.count)
        for use in again.uses:
            if use.kind in ("read", "copy") and not intervals.covers(use.location):
                found, _ = self._candidates(use)
                if any(self.labels.reach_of(relation) is not Reach.OPEN for relation in found) and not (
                        use.kind == "copy" and self.statement.copy == "in"):
                    raise refuse("a mask is due that this statement cannot carry")
        digest = hashlib.sha256(self.labels.digest.encode() + data)
        return self._masked(data.decode(), digest.hexdigest())

    # ---------------------------------------------------------------- names

    def _session_names(self, statement: Statement) -> None:
        own = {name for name, _ in statement.prepares}
        is_early = statement.reading is not None and "EXECUTE" in statement.reading.opaque     # of a name from before
        if statement.executes and self.labels.scattered and statement.reading is not None:
            why = counts_reason(statement.reading)
            if why is not None:
                raise refuse(why)
        for name in statement.executes:
            # Also one that the string prepares: it is the session's where EXECUTE stands before PREPARE.
            candidates = self.session.prepared(name)
            if not candidates and (name not in own or is_early):
                raise refuse(f'prepared statement "{name}" is not known in this session',
                              code=RefusalCode.UNKNOWN_OBJECT)
            for inner, digest in candidates:
                self._given(name, self._prepared(inner, digest))
            for own_name, inner in statement.prepares:
                if own_name == name and statement.reading is not None:
                    self._given(name, plan(inner.whole, self.masks, self.catalogue, self.session))
        for name in (*statement.cursors_lost, *statement.cursors_before):
            cursor = None if name in statement.cursors_lost else self.session.cursors.get(name)
            if cursor is None:
                raise refuse(f'cursor "{name}" is not known in this session', code=RefusalCode.UNKNOWN_OBJECT)
            if cursor.digest == SHOWS_VALUES:
                raise refuse("the portal shows columns that are masked in its own result",
                             "Execute it by message, or DECLARE a cursor.")
            if cursor.digest != self.labels.digest:
                raise refuse("the cursor was opened under other masks", "open it again")
        self.touched = self.touched or bool(statement.cursors_fetched)

    def _given(self, name: str, planned: Masked | Refusal) -> None:
        """What EXECUTE hands to a prepared statement is placed where the parameters are. No token is turned back there."""
        if isinstance(planned, Refusal) or not any(one.number for one in planned.placed):
            return
        places = literal_places(self.statement.text)
        for node in nodes(self.parsed()):
            given = node.get("ExecuteStmt", {})
            arguments = given.get("params", ()) if given.get("name") == name else ()
            for one in planned.placed:
                constant = literal_of(arguments[one.number - 1]) if 0 < one.number <= len(arguments) else None
                if constant is not None:
                    location, number, text = constant
                    self.handed += (replace(one, literal=places.get(location, -1), number=number, text=text, opens=False),)

    def _prepared(self, inner: Statement, digest: str) -> Masked:
        if inner.changes_names:
            raise refuse("EXECUTE of a statement that makes or drops names of the session", "Send the statement itself.")
        inner = inner.whole             # only whether it is refused or touches a label is asked here
        planned = plan(inner, self.masks, self.catalogue, self.session)
        if isinstance(planned, Refusal):
            raise Refused(planned)
        if digest == SHOWS_VALUES:
            raise refuse("the statement shows columns that are masked in its own result",
                         "Execute it by message, or PREPARE it by SQL.")
        if digest != self.labels.digest:
            raise refuse("the statement was prepared under other masks", "prepare it again")
        self.touched = self.touched or planned.touches_labelled
        self.executed += planned.lookups
        return planned

    def _candidates(self, use: Use) -> tuple[tuple[Relation, ...], bool]:
        """Relations that the name may mean, and whether the session may have made one of that name."""
        in_session = self._in_session(use.schema, use.name)
        if use.schema == "pg_temp":
            return (), in_session
        return self.catalogue.candidates(use.schema, use.name), in_session

    def _in_session(self, schema: str | None, name: str) -> bool:
        """Whether the session has made a relation of that name, or this string does."""
        made = self.made.get(name)
        return self.session.has_relation(schema, name) or (
            made is not None and (schema is None or schema in made or None in made))

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
                    why = rules_reason(relation, self.labels, self.catalogue) if self._is_new("", relation) else None
                    if why is not None:
                        raise refuse(why)
            if use.kind in ("target", "utility") or (use.kind == "copy" and self.statement.copy == "in"):
                self._set_in_motion(use, found)
            if not protected:
                continue
            self.touched = True
            self._require_no_place(use, protected, reading)
            if use.context == "DropStmt":
                continue
            if len(found) > 1 or (in_session and use.schema is None):
                raise refuse(f'the name "{use.name}" can mean several relations here',
                              "write the schema before the relation's name")
            self._protected_use(use, protected[0], reading, splices)
            if use.kind == "read":
                self.spliced[use.location] = protected[0]
            if use.kind == "read" and use.alias is None:
                replaced.add((protected[0].schema, use.name))
        return replaced

    def _require_no_place(self, use: Use, protected: Sequence[Relation], reading: Reading) -> None:
        """A table that is split by protected values gives away none of them by the place of its rows."""
        for relation in protected:
            why = place_reason(use, relation, self.labels, reading)
            if why is not None:
                raise refuse(why)

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
            if not self._is_new(use.context, relation):
                continue
            if use.kind == "copy" and relation.is_system:
                raise refuse("system catalogues cannot be changed here")
            why = definition_reason(use, relation, self.labels, self.catalogue)
            if why is not None:
                raise refuse(why)
            if self.labels.verdicts.escapes(relation):
                raise refuse("a trigger of the relation puts protected values where they cannot be masked")
            self._keep_in_place(self.labels.verdicts.fills([relation.oid]))
            self.touched = self.touched or self.labels.verdicts.reacts(relation)

    def _is_new(self, context: str, relation: Relation) -> bool:
        """False where the same kind of change of a relation has been judged: a string can hold thousands of them."""
        key = (context, relation.oid)
        if key in self.judged:
            return False
        self.judged.add(key)
        return True

    def _protected_use(self, use: Use, relation: Relation, reading: Reading, splices: Splices) -> None:
        if use.kind == "utility":
            if self.indexes is None:
                self.indexes, self.keys = indexed(reading.utilities), referred(reading.utilities)
            why = use_reason(use, relation, self.labels, self.catalogue, self.indexes, self.keys)
            if why is not None:
                raise refuse(why)
            return
        if use.kind == "target":
            return
        if self._is_closed(relation):
            raise closed(use.name)
        if use.kind == "copy":
            self._copy(use, relation, reading, splices)
            return
        sample = splices.take_sample(use)
        projection = self.projections.of(relation, use.inherit, self._system_columns(reading), sample)
        splices.relation(use, projection, projection if sample else STAND_IN)

    def _system_columns(self, reading: Reading) -> frozenset[str]:
        if self.system is None:
            self.system = system_columns(reading)
        return self.system

    def _is_closed(self, relation: Relation) -> bool:
        return self.labels.reach_of(relation) is Reach.CLOSED

    def _copy(self, use: Use, relation: Relation, reading: Reading, splices: Splices) -> None:
        if self.copies is None:
            self.copies = {body.get("relation", {}).get("location", 0): body
                           for name, body in reading.utilities if name == "CopyStmt"}
        body = self.copies.get(use.location)
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

    # ---------------------------------------------------------------- what depends on protected columns

    def _reads_protected(self, reading: Reading) -> bool:
        """Whether any relation that the text names is protected; else there is nothing to look into. Refused where
        it does so very often."""
        places = 0
        for use in reading.uses:
            if any(self.labels.reach_of(relation) is not Reach.OPEN
                   for relation in self.catalogue.candidates(use.schema, use.name)):
                places += 1
        if places > _MOST_PLACES:
            raise refuse(f"it names relations with protected columns in more than {_MOST_PLACES} places",
                         "Send it in parts.", RefusalCode.TOO_LARGE)
        return places > 0

    def parsed(self) -> Sequence[Node]:
        """The trees of the text."""
        if self.trees is None:
            self.trees = parsed(self.statement.text)
        return self.trees

    def _predicates(self, reading: Reading, splices: Splices) -> None:
        """Conditions on protected columns, as the policy has them; writes that would carry values or masks off;
        and the names in RETURNING."""
        statement = self.statement
        trees = self.parsed()
        for use in reading.uses:
            found, in_session = self._candidates(use)
            if use.kind == "read" and found and not in_session and all(map(self._is_closed, found)):
                raise closed(use.name)              # the reason, before what its conditions would say
        self._targets(reading)
        judge = Predication(self.labels.protected, splices.data, self.catalogue)
        changes = not statement.verbs.isdisjoint(("update", "delete", "merge"))
        budget = Budget()
        writes_over = any(target.kind in ("update", "merge") for target in reading.targets) or "update" in reading.verbs
        verdicts, taints = [], []
        for number, tree in enumerate(trees):
            if next(iter(tree["stmt"])) not in _LOOKED_INTO:
                continue                            # `permitted` has judged it
            taint = taint_of(tree["stmt"], self.catalogue, self.labels.sources, self._in_session, budget)
            if taint.is_top and taint.unknown is not None:
                raise refuse(f'column "{taint.unknown}" does not exist', code=RefusalCode.UNKNOWN_COLUMN,
                             hint="A column that this session has just added is known once it is committed.")
            if taint.is_top:
                raise refuse(f"it cannot be told which masked columns it depends on ({taint.reason})",
                             "Write a simpler statement, or send its parts one by one.")
            taints.append(taint)
            is_shown = statement.count == 1 and is_plain_query(tree["stmt"])
            since = len(judge.lookups)
            verdicts.append(judge.judge(taint, is_shown=is_shown, changes=changes))
            prepared = tree["stmt"].get("PrepareStmt")
            if prepared is not None:                # it compares each time that the string runs it
                judge.lookups += judge.lookups[since:] * statement.executes.count(prepared.get("name", ""))
            self._writes(taint, judge, writes_over)
            is_raw = bool(verdicts[-1].raw or judge.real_sources(taint))
            self._returning(self.targets.get(number, []), tree["stmt"], taint, splices, is_raw=is_raw)
            self.shown += judge.shown(taint)
        self.lookups = tuple(judge.lookups)
        self.placed = tuple(self._placed(trees, taints, judge))
        if len(verdicts) == 1:
            self.verdict = verdicts[0]
        elif any(verdict.raw for verdict in verdicts):
            raise refuse("a condition on a masked column can use real values in a statement of its own only",
                         "Send the statements one by one.")
        if self.verdict.raw or any(judge.real_sources(taint) for taint in taints):
            call = self.labels.verdicts.acts(reading)
            if call is not None:
                raise refuse(f"{call} changes or keeps something, and this statement uses real values of masked columns",
                             "Call it in a statement of its own.")
        self.projections = Projections(self.masks, self.labels, self.catalogue, self.verdict.raw)

    def _targets(self, reading: Reading) -> None:
        """Notes what each statement changes; refused where it may not be changed at all."""
        for target in reading.targets:
            meant = self._meant(target)
            if any(map(self._is_closed, meant)):
                raise closed(target.use.name)
            if target.kind == "insert" and any(relation.oid in self.labels.filtered for relation in meant):
                # WITH CHECK OPTION would say whether the new row is one of the view's
                raise refuse("which rows this view has depends on masked columns", "Insert into its table.")
            self.targets.setdefault(target.use.statement, []).extend((target, relation) for relation in meant)

    def _writes(self, taint: Taint, judge: Predication, writes_over: bool) -> None:
        """Values that leave their label, and masks that would take the place of data."""
        real = judge.real_sources(taint)
        for write in taint.writes:
            if not write.sources or (write.keeps and write.sources <= real):
                continue
            if not real.isdisjoint(write.sources) and not judge.may_compute(write):
                raise refuse("a masked column may not be written into another, nor be computed with",
                             "Set it to a value of your own, or leave it as it is.")
            if real.isdisjoint(write.sources) and (writes_over or write.target in self.labels.pairs):
                raise refuse("this would write masks in the place of data",
                             "Leave the masked columns out, or set them to values of your own.")

    def _placed(self, trees: Sequence[Node], taints: list[Taint], judge: Predication) -> Iterator[Placed]:
        """The constants that go into protected columns or are compared with them.

        A token among them is turned back only where nothing else can show it: not a parameter that is named twice, not
        in a text that is kept or explained, and not in one that says itself what it is (`Verdicts.quotes`) - the value
        of a parameter is in no text.
        """
        changing = trees if self.targets else ()            # else nothing is written
        found = constants(changing, taints, self._targeted, self.labels.pairs)
        if not found:
            return
        uses = parameter_uses(trees)
        places = literal_places(self.statement.text)
        in_parameters = may_open(trees, parameters=True)
        in_text = may_open(trees, parameters=False) and not self._quotes()
        for constant in found:
            literal = places.get(constant.location, -1)
            if constant.number or literal >= 0 or constant.text is not None:
                column = self._column(constant.source)
                opens = constant.is_whole and column is not None and column.base in TEXTUAL and (
                    in_parameters and uses.get(constant.number) == 1 if constant.number else in_text)
                yield Placed(-1 if constant.number else literal, constant.number, judge.cover(constant.source),
                             constant.is_written, None if column is None else redacted(column),
                             "" if column is None else column.base or "", opens, constant.text)

    def _quotes(self) -> bool:
        """Whether the statement's text may become a value in it. What this session has made, as a temporary view or
        table, may ask for the text as well: nobody knows how it is defined."""
        reading = self.statement.reading
        return reading is None or not self.session.knows_all or self.labels.verdicts.quotes(reading) or any(
            self._in_session(use.schema, use.name) or not self.catalogue.candidates(use.schema, use.name)
            for use in reading.uses)

    def _column(self, source: Source) -> Column | None:
        relation = self.catalogue.by_oid.get(source[0])
        return None if relation is None else next((one for one in relation.columns if one.number == source[1]), None)

    def _targeted(self, schema: str | None, name: str) -> tuple[Relation, ...]:
        return () if schema == "pg_temp" else self.catalogue.candidates(schema, name)

    def _meant(self, target: Target) -> tuple[Relation, ...]:
        pinned = self.pins.get(target.use.location)
        return self._candidates(target.use)[0] if pinned is None else (pinned,)

    def _returning(self, targets: list[tuple[Target, Relation]], tree: Node, taint: Taint, splices: Splices, *,
                   is_raw: bool) -> None:
        """`is_raw`: the statement uses real values of protected columns, so what it writes elsewhere may be one."""
        wanted = [one for one in taint.references if one.is_target and one.in_returning]
        if not wanted:
            return
        self.touched = True
        if len(targets) > _MOST_TARGETS:
            raise refuse(f"it changes more than {_MOST_TARGETS} relations and gives back masked columns of them",
                         "Send it in parts.", RefusalCode.TOO_LARGE)
        returning = Returning(splices, self.labels.protected)
        for reference in wanted:
            returning.replace(reference, targets, is_alone=is_alone_in(tree), is_raw=is_raw)

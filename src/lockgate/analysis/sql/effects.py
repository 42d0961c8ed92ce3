"""From parse trees to a `Statement`: what each kind of statement does.

`reading` walks queries; here is the table of utility statements. A statement that is not in it gets
its verb from its node's name (`CreateXStmt`, `AlterXStmt`, `DropXStmt`) or is opaque.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from lockgate.analysis.sql.copying import CopyOptions, copy_format
from lockgate.analysis.sql.errors import TOO_COMPLEX, NotUnderstood
from lockgate.analysis.sql.estimates import ESTIMATES, concerns_no_rows
from lockgate.analysis.sql.parser import parse_trees
from lockgate.analysis.sql.reading import Node, Reader, Reading, Use, qualified, reads_files, strings
from lockgate.analysis.sql.settings import refusal_of
from lockgate.analysis.sql.statement import CATALOGUE_VERBS, RESOLVED, VERBS, Naming, Statement

_QUERIES: Final = frozenset(("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"))
_ROWS: Final = frozenset(("SelectStmt", "VariableShowStmt", "ExplainStmt", "ExecuteStmt", "FetchStmt", "CallStmt"))
_VERB_OF: Final = {
    "TruncateStmt": "truncate", "ListenStmt": "listen", "NotifyStmt": "notify", "UnlistenStmt": "unlisten",
    "LockStmt": "lock", "ClusterStmt": "cluster", "ReindexStmt": "reindex",
    "DiscardStmt": "discard", "CheckPointStmt": "checkpoint", "ImportForeignSchemaStmt": "import",
    "SecLabelStmt": "security", "RenameStmt": "alter", "ReassignOwnedStmt": "alter", "ConstraintsSetStmt": "set",
    "DefineStmt": "create", "IndexStmt": "create", "RuleStmt": "create",
    "VariableShowStmt": "show", "RefreshMatViewStmt": "refresh", "GrantRoleStmt": "grant",
}
_HOLD: Final = 0x20
"""CURSOR_OPT_HOLD (parsenodes.h)."""
_TRANSACTION: Final = {
    "TRANS_STMT_BEGIN": ("begin", "begin"), "TRANS_STMT_START": ("begin", "begin"),
    "TRANS_STMT_COMMIT": ("commit", "commit"), "TRANS_STMT_ROLLBACK": ("rollback", "rollback"),
    "TRANS_STMT_SAVEPOINT": ("savepoint", "savepoint"), "TRANS_STMT_RELEASE": ("savepoint", "release"),
    "TRANS_STMT_ROLLBACK_TO": ("rollback", "rollback_to"), "TRANS_STMT_PREPARE": ("commit", "prepare"),
    "TRANS_STMT_COMMIT_PREPARED": ("commit", "commit_prepared"),
    "TRANS_STMT_ROLLBACK_PREPARED": ("rollback", "rollback_prepared"),
}
NAMED_RELATIONS: Final = frozenset((
    "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE", "OBJECT_INDEX",
))
_NAME_NOTHING: Final = frozenset((
    "TransactionStmt", "VariableSetStmt", "VariableShowStmt", "ClosePortalStmt", "DeallocateStmt",
    "DiscardStmt", "ListenStmt", "NotifyStmt", "UnlistenStmt", "CheckPointStmt", "ExplainStmt", "PrepareStmt",
    "DeclareCursorStmt",
))
"""Utility statements whose relations, if any, are all in `Reading.uses`."""
_CODE: Final = frozenset((
    "OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE", "OBJECT_OPERATOR", "OBJECT_TYPE",
))
_MOST_PREPARES: Final = 64
_LONGEST_PREPARE: Final = 16_384
MOST_BLOCKS: Final = 8
LONGEST_BLOCKS: Final = 16_384
"""DO blocks of one string, and characters of all together, whose effect is worked out: one costs more to read than its
words, and some characters are enough for a statement."""
_BLANKS: Final = b" \t\n\r\f\v"
_FALSE: Final = frozenset(("false", "off", "no", "0", "f", "n"))


class StatementReader:
    """Reads all statements of one string."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.verbs = self.reader.reading.verbs
        self.copies_program = self.touches_files = self.returns_rows = False
        self.copy: str | None = None
        self.copies_out: list[CopyOptions] = []
        self.copies_in: list[CopyOptions] = []
        self.application: Naming | None = None
        self.prepared: list[str] = []
        self.executes: list[str] = []
        self.deallocates: list[str | None] = []
        self.declared: list[str] = []
        self.fetched: list[str] = []
        self.closed: list[str | None] = []
        self.open: dict[str, bool] = {}     # cursors that the string has opened by now; True: WITH HOLD
        self.ended: set[str | None] = set()  # … that it has closed; None: whatever was open
        self.fetched_before: list[str] = []
        self.fetched_lost: list[str] = []
        self.sets: list[str] = []
        self.search_path: tuple[str, ...] | None = None
        self.has_unknown_execute = False
        self.transaction: list[str] = []
        self.copied: list[str] = []         # columns that COPY FROM sets
        self.forbidden: str | None = None

    def statement(self, node: Node) -> None:
        """One statement: a dict with a single key, its node name."""
        name, body = next(iter(node.items()))
        if name in _ROWS or body.get("returningList"):
            self.returns_rows = self.returns_rows or "intoClause" not in body
        if name in _QUERIES:
            self.reader.walk(node, name)
            return
        self.reader.reading.utilities.append((name, _without_query(body)))
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, body)
            return
        verb = _VERB_OF.get(name)
        if verb is None:
            for prefix in ("create", "alter", "drop"):
                if name.lower().startswith(prefix):
                    verb = prefix
        if verb is None:
            self.opaque(name)
            verb = "other"
        self.verbs.add(verb)
        self.reader.walk(body, name, "utility")

    def opaque(self, why: str) -> None:
        self.reader.reading.opaque.append(why)

    # ---------------------------------------------------------------- data

    def _copy(self, body: Node) -> None:
        self.verbs.add("copy")
        is_in = bool(body.get("is_from"))
        if body.get("is_program"):
            self.copies_program = True
            self.opaque("COPY with a program")
        elif "filename" in body:
            self.touches_files = True
        else:
            self.copy = "in" if is_in else "out"
            (self.copies_in if is_in else self.copies_out).append(copy_format(body.get("options")))
        relation = body.get("relation")
        if relation is not None:
            self.verbs.add("insert" if is_in else "select")
            self.reader.walk({"RangeVar": relation}, "CopyStmt", "copy")
            columns = strings(body.get("attlist")) or ("*",)
            reading = self.reader.reading
            for column in columns:
                if is_in:
                    self.copied.append(f"{relation.get('relname', '')}.{column}")
                else:
                    reading.columns.append((relation.get("relname", ""), column))
        if "query" in body:
            self._nested(body["query"])
        self.reader.walk(body.get("whereClause"), "CopyStmt")

    def _nested(self, node: Node) -> None:
        rows = self.returns_rows
        self.statement(node)
        self.returns_rows = rows

    def _explain(self, body: Node) -> None:
        before = set(self.verbs)
        runs = False
        for option in body.get("options", ()):
            element = option.get("DefElem", {})
            if element.get("defname") == "analyze":
                runs = runs or not _is_false(element.get("arg"))
        declared, opened = list(self.declared), dict(self.open)
        self.statement(body.get("query", {"Unknown": {}}))
        self.declared, self.open = declared, opened     # no cursor is opened, by EXPLAIN ANALYZE neither
        self.returns_rows = True
        if not runs:                                    # only planned: its effects do not happen
            self.verbs.intersection_update(before)
        self.verbs.add("explain")

    def _create_as(self, body: Node) -> None:
        self.verbs.add("create")
        self.reader.context = "CreateTableAsStmt"
        self.reader.created(body.get("into", {}).get("rel", {}))
        self._nested(body.get("query", {"Unknown": {}}))

    def _view(self, body: Node) -> None:
        self.verbs.add("create")
        self.reader.context = "ViewStmt"
        self.reader.created(body.get("view", {}))
        verbs = set(self.verbs)
        self._nested(body.get("query", {"Unknown": {}}))
        self.verbs.intersection_update(verbs)

    def _create_table(self, body: Node) -> None:
        base = body.get("base", body)                   # CREATE FOREIGN TABLE wraps it
        self.verbs.add("create")
        self.reader.context = "CreateStmt"
        self.reader.created(base.get("relation", {}))
        rest = {key: value for key, value in base.items() if key != "relation"}
        self.reader.walk(rest, "CreateStmt", "utility")

    def _create_sequence(self, body: Node) -> None:
        self.verbs.add("create")
        self.reader.context = "CreateSeqStmt"
        self.reader.created(body.get("sequence") or body.get("typevar") or {})
        rest = {key: value for key, value in body.items() if key not in ("sequence", "typevar")}
        self.reader.walk(rest, "CreateSeqStmt", "utility")

    def _create_schema(self, body: Node) -> None:
        self.verbs.add("create")
        for element in body.get("schemaElts", ()):
            self._nested(element)

    def _code(self, body: Node) -> None:
        """A function, trigger, operator, cast …: code that later statements run without showing it (an overload of
        a built-in's name, `===`, an INSERT on the table), so its effect counts here."""
        self.opaque("definition of code")

    def _define(self, body: Node) -> None:
        if body.get("kind") in _CODE:
            self.opaque("definition of code")
        self.verbs.add("create")
        self.reader.walk(body, "DefineStmt", "utility")

    def _rename(self, body: Node) -> None:
        if body.get("renameType", body.get("objectType")) in _CODE:
            self.opaque("definition of code")
        self.verbs.add("alter")
        self.reader.walk(body, "RenameStmt" if "renameType" in body else "AlterObjectSchemaStmt", "utility")

    def _rule(self, body: Node) -> None:
        self.verbs.add("create")
        self.reader.walk({"RangeVar": body.get("relation", {})}, "RuleStmt", "utility")
        for action in body.get("actions", ()):
            for item in action.get("List", {}).get("items", [action]):
                self._nested(item)

    def _alter_table(self, body: Node) -> None:
        self.verbs.add("alter")
        for command in body.get("cmds", ()):
            if command.get("AlterTableCmd", {}).get("subtype") == "AT_DropColumn":
                self.verbs.add("drop")
        self.reader.walk(body, "AlterTableStmt", "utility")

    def _drop(self, body: Node) -> None:
        self.verbs.add("drop")
        if body.get("removeType") in NAMED_RELATIONS:
            for item in body.get("objects", ()):
                schema, name = qualified(item.get("List", {}).get("items"))
                self.reader.reading.uses.append(Use("utility", "DropStmt", schema, name, -1))

    def _comment(self, body: Node) -> None:
        self.verbs.add("comment")
        items = body.get("object", {}).get("List", {}).get("items", [])
        is_column = body.get("objtype") == "OBJECT_COLUMN"
        if is_column or body.get("objtype") in NAMED_RELATIONS:
            schema, name = qualified(items[:-1] if is_column else items)
            self.reader.reading.uses.append(Use("utility", "CommentStmt", schema, name, -1))

    def _vacuum(self, body: Node) -> None:
        self.verbs.add("vacuum" if body.get("is_vacuumcmd") else "analyze")
        self.reader.walk(body, "VacuumStmt", "utility")

    def _grant(self, body: Node) -> None:
        self.verbs.add("grant" if body.get("is_grant") else "revoke")
        self.reader.walk(body.get("objects"), "GrantStmt", "utility")

    def _grant_role(self, body: Node) -> None:
        self.verbs.add("grant" if body.get("is_grant") else "revoke")

    def _default_privileges(self, body: Node) -> None:
        self.verbs.update(("alter", "grant" if body.get("action", {}).get("is_grant") else "revoke"))

    def _extension(self, body: Node) -> None:
        self.verbs.add("create")
        self.opaque("CREATE EXTENSION")                 # runs a script

    def _extension_update(self, body: Node) -> None:
        self.verbs.add("alter")
        self.opaque("ALTER EXTENSION")                  # so does this

    # ---------------------------------------------------------------- session

    def _do(self, body: Node) -> None:
        """Only with a catalogue is it known what a block does: see `routines`."""
        self.verbs.add("do")
        options = {item.get("DefElem", {}).get("defname"): item.get("DefElem", {}).get("arg", {})
                   for item in body.get("args", ())}
        if options.get("language", {}).get("String", {}).get("sval", "plpgsql") != "plpgsql":
            self.opaque("DO in another language")
            return
        blocks = self.reader.reading.blocks
        text = options.get("as", {}).get("String", {}).get("sval", "")
        if len(blocks) == MOST_BLOCKS or sum(map(len, blocks)) + len(text) > LONGEST_BLOCKS:
            self.opaque(f"DO of more than {MOST_BLOCKS} blocks or {LONGEST_BLOCKS} characters")
            return
        blocks.append(text)
        self.opaque("DO")

    def _call(self, body: Node) -> None:
        self.verbs.add("call")
        self.opaque("CALL")
        self.reader.walk({"FuncCall": body.get("funccall", {})}, "CallStmt")

    def _load(self, body: Node) -> None:
        self.verbs.add("load")
        self.opaque("LOAD")

    def _prepare(self, body: Node) -> None:
        self.verbs.add("prepare")
        self.prepared.append(body.get("name", ""))
        self._nested(body.get("query", {"Unknown": {}}))

    def _execute(self, body: Node) -> None:
        self.verbs.add("execute")
        name = body.get("name", "")
        self.executes.append(name)
        if name not in self.prepared:                   # what it stands for was made before this string
            self.has_unknown_execute = True
        self.reader.walk(body.get("params"), "ExecuteStmt")

    def _deallocate(self, body: Node) -> None:
        self.verbs.add("deallocate")
        self.deallocates.append(body.get("name"))

    def _declare(self, body: Node) -> None:
        self.verbs.add("declare")
        self.declared.append(body.get("portalname", ""))
        self.open[body.get("portalname", "")] = bool(int(body.get("options", 0)) & _HOLD)
        self._nested(body.get("query", {"Unknown": {}}))

    def _fetch(self, body: Node) -> None:
        self.verbs.add("fetch")
        name = body.get("portalname", "")
        self.fetched.append(name)
        if name not in self.open:
            is_lost = not self.ended.isdisjoint((name, None))
            (self.fetched_lost if is_lost else self.fetched_before).append(name)

    def _close(self, body: Node) -> None:
        self.verbs.add("close")
        name = body.get("portalname")
        self.closed.append(name)
        self.ended.add(name)
        if name is None:
            self.open.clear()
        else:
            self.open.pop(name, None)

    def _transaction(self, body: Node) -> None:
        verb, word = _TRANSACTION.get(body.get("kind", "TRANS_STMT_BEGIN"), ("other", "other"))
        self.verbs.add(verb)
        self.transaction.append(word)
        if word in ("commit", "rollback", "prepare", "rollback_to"):
            self.ended.add(None)
            self.open = {name: True for name, is_held in self.open.items() if is_held and word == "commit"}

    def _set(self, body: Node) -> None:
        self.verbs.add("set")
        name = body.get("name", "").lower()
        kind = body.get("kind", "VAR_SET_VALUE")
        if kind == "VAR_SET_MULTI":                     # TRANSACTION, SESSION CHARACTERISTICS
            self.sets.append(name)
            return
        if kind == "VAR_RESET_ALL":
            self.sets.append("all")
            return
        values = [_constant(item) for item in body.get("args", ())]
        if name == "search_path":
            names = tuple(value for value in values if value is not None)
            is_whole = kind == "VAR_SET_VALUE" and len(names) == len(values) and not body.get("is_local")
            self.search_path = names if is_whole else None
        value = "default" if kind == "VAR_SET_DEFAULT" else (values[0] if len(values) == 1 else None)
        if name == "application_name" and kind == "VAR_SET_VALUE":
            self.application = Naming(value, bool(body.get("is_local")))
        self.setting(name, value, kind == "VAR_RESET")

    def setting(self, name: str, value: str | None, is_reset: bool = False) -> None:
        self.sets.append(name)
        self.forbidden = self.forbidden or refusal_of(name, value, is_reset)

    def _alter_setting(self, body: Node) -> None:
        self.verbs.add("alter")
        inner = body.get("setstmt", {})
        verbs, application = set(self.verbs), self.application     # of later sessions: their start-up goes first
        self._set(inner)
        self.verbs.intersection_update(verbs)
        self.application = application

    def _discard(self, body: Node) -> None:
        self.verbs.add("discard")
        if body.get("target", "DISCARD_ALL") == "DISCARD_ALL":
            self.sets.append("all")
            self.deallocates.append(None)
            self._close({})
            self.verbs.discard("close")


def _constant(node: Node) -> str | None:
    body = node.get("A_Const")
    if body is None and "TypeCast" in node:
        return _constant(node["TypeCast"].get("arg", {}))
    if body is None:
        return None
    if "sval" in body:
        return str(body["sval"].get("sval", ""))
    if "ival" in body:
        return str(body["ival"].get("ival", 0))
    if "boolval" in body:
        return "true" if body["boolval"].get("boolval") else "false"
    return str(body.get("fval", {}).get("fval", ""))


def _is_false(argument: Node | None) -> bool:
    """An EXPLAIN option's value; anything that is not plainly false counts as true."""
    if argument is None:
        return False
    if "Integer" in argument:
        return bool(argument["Integer"].get("ival", 0) == 0)
    if "Boolean" in argument:
        return not argument["Boolean"].get("boolval", False)
    return str(argument.get("String", {}).get("sval", "")).lower() in _FALSE


_HANDLERS: Final[dict[str, Callable[[StatementReader, Node], None]]] = {
    "CopyStmt": StatementReader._copy,
    "ExplainStmt": StatementReader._explain,
    "CreateTableAsStmt": StatementReader._create_as,
    "ViewStmt": StatementReader._view,
    "CreateStmt": StatementReader._create_table,
    "CreateForeignTableStmt": StatementReader._create_table,
    "CreateSeqStmt": StatementReader._create_sequence,
    "CompositeTypeStmt": StatementReader._create_sequence,
    "CreateSchemaStmt": StatementReader._create_schema,
    "CreateFunctionStmt": StatementReader._code,
    "AlterFunctionStmt": StatementReader._code,
    "CreateTrigStmt": StatementReader._code,
    "CreateEventTrigStmt": StatementReader._code,
    "CreateCastStmt": StatementReader._code,
    "CreateOpClassStmt": StatementReader._code,
    "AlterOpFamilyStmt": StatementReader._code,
    "AlterOperatorStmt": StatementReader._code,
    "AlterTypeStmt": StatementReader._code,
    "CreateTransformStmt": StatementReader._code,
    "CreateConversionStmt": StatementReader._code,
    "CreatePLangStmt": StatementReader._code,
    "CreateRangeStmt": StatementReader._code,
    "DefineStmt": StatementReader._define,
    "RenameStmt": StatementReader._rename,
    "AlterObjectSchemaStmt": StatementReader._rename,
    "CreateExtensionStmt": StatementReader._extension,
    "AlterExtensionStmt": StatementReader._extension_update,
    "RuleStmt": StatementReader._rule,
    "AlterTableStmt": StatementReader._alter_table,
    "DropStmt": StatementReader._drop,
    "CommentStmt": StatementReader._comment,
    "VacuumStmt": StatementReader._vacuum,
    "GrantStmt": StatementReader._grant,
    "GrantRoleStmt": StatementReader._grant_role,
    "AlterDefaultPrivilegesStmt": StatementReader._default_privileges,
    "DoStmt": StatementReader._do,
    "CallStmt": StatementReader._call,
    "LoadStmt": StatementReader._load,
    "PrepareStmt": StatementReader._prepare,
    "ExecuteStmt": StatementReader._execute,
    "DeallocateStmt": StatementReader._deallocate,
    "DeclareCursorStmt": StatementReader._declare,
    "FetchStmt": StatementReader._fetch,
    "ClosePortalStmt": StatementReader._close,
    "TransactionStmt": StatementReader._transaction,
    "VariableSetStmt": StatementReader._set,
    "AlterRoleSetStmt": StatementReader._alter_setting,
    "AlterDatabaseSetStmt": StatementReader._alter_setting,
    "AlterSystemStmt": StatementReader._alter_setting,
    "DiscardStmt": StatementReader._discard,
}


def read(trees: list[Any], text: str, data: bytes) -> Statement:
    """The `Statement` of a parsed string. `text` has no comments; `data` is its UTF-8."""
    whole = StatementReader()
    prepares: list[tuple[str, Statement]] = []          # a name prepared twice keeps both
    for number, tree in enumerate(trees):
        whole.reader.statement = number
        node = tree["stmt"]
        whole.statement(node)
        while len(prepares) < len(whole.prepared):
            prepares.append((whole.prepared[len(prepares)], _inner(tree, data, len(prepares))))
    if whole.executes:
        executed = frozenset(whole.executes)
        for prepared, inner in prepares:
            if prepared in executed:
                whole.verbs.update(inner.verbs)
        whole.returns_rows = True
        if whole.has_unknown_execute:
            whole.opaque("EXECUTE")
    return _finish(whole, text, data, len(trees), tuple(prepares))


def _inner(tree: Node, data: bytes, number: int) -> Statement:
    """A PREPARE on its own, with the effects of the query inside it. One that is not the first statement of its
    string is read again, for the positions in it are to be its own."""
    start = tree.get("stmt_location", 0)
    length = tree.get("stmt_len") or len(data) - start
    if number >= _MOST_PREPARES or (start and length > _LONGEST_PREPARE):
        raise NotUnderstood(TOO_COMPLEX, "a string holds too many PREPAREs, or a long one behind another statement",
                            hint="Send each PREPARE as a statement of its own.")
    piece = data[start:start + length].rstrip(_BLANKS)
    if start:
        piece = piece.lstrip(_BLANKS)
    text = piece.decode()
    reader = StatementReader()
    reader.statement(parse_trees(text)[0]["stmt"] if start else tree["stmt"])
    reader.verbs.discard("prepare")
    return _finish(reader, text, piece, 1, ())


def _finish(whole: StatementReader, text: str, data: bytes, count: int,
            prepares: tuple[tuple[str, Statement], ...]) -> Statement:
    reading = whole.reader.reading
    for name, value in reading.settings:
        whole.setting(name, value)
        if name == "application_name":
            whole.application = Naming(None, False)
    if whole.application is not None and count > 1:
        whole.application = Naming(None, False)
    if _writes_settings(whole):
        whole.forbidden = whole.forbidden or "pg_settings can only be read here; use SET"
    if reading.unknown:
        reading.opaque.extend(sorted(reading.unknown))
    is_opaque = bool(reading.opaque)
    if not count:
        whole.verbs.add("empty")        # drivers ping with it; no verb at all would mean every effect
    verbs = VERBS if is_opaque else frozenset(whole.verbs)
    changes = is_opaque or not CATALOGUE_VERBS.isdisjoint(verbs)
    objects = tuple(dict.fromkeys([_dotted(use.schema, use.name) for use in reading.uses]))
    created = tuple(dict.fromkeys(_dotted(schema, name) for schema, name in reading.created))
    written = [f"{target.use.name}.{column}" for target in reading.targets for column in target.columns]
    functions = [_dotted(schema, name) for schema, name in dict.fromkeys(reading.functions)]
    facts: dict[str, object] = {
        "relations": list(objects),
        "columns_read": [".".join(names) for names in dict.fromkeys(reading.columns)],
        "columns_written": list(dict.fromkeys(written + whole.copied)),
        "has_where": not (reading.unbounded or is_opaque),
        "tautology": whole.reader.is_tautology,
        "functions": functions,
        "is_opaque": is_opaque,
        "statements": count,
        "copies_program": whole.copies_program,
        "touches_files": whole.touches_files or whole.copies_program or reads_files(reading.functions),
        "sets": list(dict.fromkeys(whole.sets)),
        "creates": list(created),
        "changes_catalogue": changes,
        "text_length": len(data),
    }
    if not (reading.uses or is_opaque) and all(name in _NAME_NOTHING for name, _ in reading.utilities):
        facts.update({name: [] for name in RESOLVED})
    if not is_opaque and concerns_no_rows(verbs, reading):
        facts.update(dict.fromkeys(ESTIMATES, 0))
    return Statement(
        text=text, key=hashlib.blake2b(data, digest_size=16).digest(), verbs=verbs, facts=facts, objects=objects,
        count=count, is_empty=count == 0, is_opaque=is_opaque, changes_catalogue=changes, prepares=prepares,
        executes=tuple(whole.executes), deallocates=tuple(whole.deallocates), cursors_declared=tuple(whole.declared),
        cursors_fetched=tuple(whole.fetched), cursors_closed=tuple(whole.closed),
        cursors_left=tuple(whole.open.items()), cursors_before=tuple(whole.fetched_before),
        cursors_lost=tuple(whole.fetched_lost), sets=tuple(dict.fromkeys(whole.sets)),
        search_path=whole.search_path if count == 1 else None, copy=whole.copy, copies_out=tuple(whole.copies_out),
        copies_in=tuple(whole.copies_in), application=whole.application,
        transaction=tuple(whole.transaction), returns_rows_maybe=whole.returns_rows,
        created=created, forbidden=whole.forbidden, reading=reading, weight=_weight(reading, len(data), prepares),
    )


def _without_query(body: Node) -> Node:
    """What is kept of a utility statement: of the query inside it only that there is one. It is most of the size and
    has been read."""
    return {**body, "query": {}} if "query" in body else body


def _weight(reading: Reading, size: int, prepares: tuple[tuple[str, Statement], ...]) -> int:
    """Bytes that a statement holds, about: measured for columns, calls and relations; trees of utility statements
    are some 200 times their text."""
    names = 300 * len(reading.columns) + 200 * len(reading.functions) + 400 * len(reading.uses)
    trees = 240 * size if reading.utilities else 0
    return 3_500 + 2 * size + names + trees + sum(inner.weight for _, inner in prepares)


def _writes_settings(whole: StatementReader) -> bool:
    """UPDATE of the view pg_settings is a SET (its rule calls set_config), through a view of it as well."""
    reading = whole.reader.reading
    if any(target.use.name == "pg_settings" for target in reading.targets):
        return True
    makes_view = any(name in ("ViewStmt", "RuleStmt") for name, _ in reading.utilities)
    return makes_view and any(use.name == "pg_settings" for use in reading.uses)


def _dotted(schema: str | None, name: str) -> str:
    return name if schema is None else f"{schema}.{name}"

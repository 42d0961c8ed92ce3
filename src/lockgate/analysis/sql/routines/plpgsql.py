"""From the text of a PL/pgSQL body to what it evaluates, in order (manual, "PL/pgSQL").

The tree is that of PostgreSQL's own PL/pgSQL grammar (libpg_query). Every kind of node and every field of
it has its place in `_FIELDS`; a node or field that has none makes the body unreadable, and so does SQL that is
made at run time. What is evaluated comes out as SQL text, with the variables that take its values and the
evaluations that decide whether it happens; what the text means is `bodies`' and `flows`' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pgparse

from lockgate.analysis.sql.errors import NotUnderstood
from lockgate.analysis.sql.masks import quote_name
from lockgate.analysis.sql.parser import nodes
from lockgate.analysis.sql.reading import Node, strings
from lockgate.analysis.sql.routines.declarations import has_alias, hides_default, with_record, with_records
from lockgate.analysis.sql.text import require_flat

DYNAMIC: Final = "it runs SQL that it makes at run time"
UNREADABLE: Final = "its body cannot be read"
MOST_EVALUATIONS: Final = 4_096
"""Statements and expressions of one body. Each costs some 50 microseconds; a client can send a body, too."""
_MOST_RECORDS: Final = 64
_MOST_RETRIES: Final = 32
_LONGEST_RETRIED: Final = 32_768
_UNKNOWN_VARIABLE: Final = re.compile(r'"([^".]+)\.[^"]*" is not a known variable')
_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*|\$\d+)'
# No quote, no comment and no bracket in a bracket: where such a target ends needs no scanner.
_TARGET: Final = re.compile(
    rf"\s*({_NAME}(?:\s*\.\s*{_NAME}|\s*\[(?:(?!--|/\*)[^'\"$\[\]])*\])*)\s*(?::=|=)")

# Roles: "" says nothing of interest; eval, control and range are expressions, control and range ones decide about
# the bodies that follow; query and loop (control) are statements; dynamic ones make their text; into, cursor, opened,
# closed and varno name variables; body and nodes are visited.
_FIELDS: Final[dict[str, dict[str, str]]] = {
    "PLpgSQL_stmt_block": {"body": "body", "exceptions": "handlers"},
    "PLpgSQL_exception_block": {"exc_list": "nodes"},
    "PLpgSQL_exception": {"conditions": "", "action": "body"},
    "PLpgSQL_stmt_assign": {"varno": "varno", "expr": "assign"},
    "PLpgSQL_stmt_if": {"cond": "control", "then_body": "body", "elsif_list": "nodes", "else_body": "body"},
    "PLpgSQL_if_elsif": {"cond": "control", "stmts": "body"},
    "PLpgSQL_stmt_case": {"t_expr": "control", "t_varno": "varno", "case_when_list": "nodes", "have_else": "",
                          "else_stmts": "body"},
    "PLpgSQL_case_when": {"expr": "control", "stmts": "body"},
    "PLpgSQL_stmt_loop": {"body": "body"},
    "PLpgSQL_stmt_while": {"cond": "control", "body": "body"},
    "PLpgSQL_stmt_fori": {"var": "into", "lower": "range", "upper": "range", "step": "range", "reverse": "",
                          "body": "body"},
    "PLpgSQL_stmt_fors": {"var": "into", "query": "loop", "body": "body"},
    "PLpgSQL_stmt_forc": {"var": "into", "curvar": "cursor", "argquery": "control", "body": "body"},
    "PLpgSQL_stmt_foreach_a": {"varno": "varno", "slice": "", "expr": "range", "body": "body"},
    "PLpgSQL_stmt_dynfors": {"var": "into", "query": "dynamic", "params": "params", "body": "body"},
    "PLpgSQL_stmt_exit": {"is_exit": "", "cond": "control"},
    "PLpgSQL_stmt_return": {"expr": "return"},
    "PLpgSQL_stmt_return_next": {"expr": "return"},
    "PLpgSQL_stmt_return_query": {"query": "query", "dynquery": "dynamic", "params": "params"},
    "PLpgSQL_stmt_raise": {"elog_level": "", "condname": "", "message": "", "params": "nodes", "options": "nodes"},
    "PLpgSQL_raise_option": {"opt_type": "", "expr": "eval"},
    "PLpgSQL_stmt_assert": {"cond": "eval", "message": "eval"},
    "PLpgSQL_stmt_execsql": {"target": "into", "sqlstmt": "query", "into": "", "strict": ""},
    "PLpgSQL_stmt_dynexecute": {"target": "into", "query": "dynamic", "params": "params", "into": "", "strict": ""},
    "PLpgSQL_stmt_getdiag": {"is_stacked": "", "diag_items": "diagnostics"},
    "PLpgSQL_stmt_open": {"curvar": "opened", "cursor_options": "", "argquery": "eval", "query": "query",
                          "dynquery": "dynamic", "params": "params"},
    "PLpgSQL_stmt_fetch": {"target": "into", "curvar": "cursor", "direction": "", "how_many": "", "expr": "eval",
                           "is_move": "", "returns_multiple_rows": ""},
    "PLpgSQL_stmt_close": {"curvar": "closed"},
    "PLpgSQL_stmt_perform": {"expr": "query"},
    "PLpgSQL_stmt_call": {"target": "into", "expr": "query", "is_call": ""},
    "PLpgSQL_stmt_commit": {"chain": ""},
    "PLpgSQL_stmt_rollback": {"chain": ""},
    "PLpgSQL_expr": {},
}
_EVERYWHERE: Final = frozenset(("lineno", "label"))
_EXITS: Final = frozenset(("PLpgSQL_stmt_exit", "PLpgSQL_stmt_return", "PLpgSQL_stmt_raise", "PLpgSQL_stmt_assert"))
_ERROR: Final = 21
_ENDS: Final = {"PLpgSQL_stmt_commit": "COMMIT", "PLpgSQL_stmt_rollback": "ROLLBACK"}
_DATUMS: Final = {
    "PLpgSQL_var": frozenset((
        "refname", "datatype", "isconst", "notnull", "default_val", "cursor_explicit_expr", "cursor_explicit_argrow",
        "cursor_options")),
    "PLpgSQL_row": frozenset(("refname", "fields")),
    "PLpgSQL_rec": frozenset(("refname", "dno")),
    "PLpgSQL_recfield": frozenset(("fieldname", "recparentno")),
}


class Unreadable(Exception):
    """Why the effect of a body is not known, in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Evaluation:
    """SQL that a body evaluates: one statement, or `SELECT` and an expression.

    `targets` are the variables that take its values (`v`, `new.name`), `parameters` the expressions whose values
    it knows as `$1`, …, `under` the evaluations (by index) that decide whether it happens. FOUND and ROW_COUNT
    tell how many rows it has where it `counts`, and of its value where it `iterates`.
    """

    sql: str
    targets: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    under: frozenset[int] = frozenset()
    returns: bool = False
    counts: bool = False
    iterates: bool = False


@dataclass(slots=True)
class Script:
    """A body: what it evaluates, in order, and what it declares.

    `rows` are the names of types that were taken for records. `returns` and `jumps` say, for each place where it may
    stop or go on elsewhere, which evaluations decide that it does. `opened` and `closed` are variables of cursors.
    """

    evaluations: list[Evaluation] = field(default_factory=list)
    variables: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    rows: frozenset[str] = frozenset()
    returns: list[frozenset[int]] = field(default_factory=list)
    jumps: list[frozenset[int]] = field(default_factory=list)
    leaves: list[frozenset[int]] = field(default_factory=list)      # of `returns`, those that are no error
    opened: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    catches: bool = False
    renames: bool = False           # a variable may have a second name
    cursors: frozenset[str] = frozenset()       # variables that name no portal but one that the body has opened
    has_foreign_cursor: bool = False            # it may open, read or close a portal by a name that others know


def script_of(parameters: list[Node], returns: Node, body: str) -> Script:
    """Reads a body. `parameters` and `returns` are FunctionParameter and TypeName nodes. Raises `Unreadable`."""
    try:
        require_flat(body)
    except NotUnderstood:
        raise Unreadable(UNREADABLE) from None
    text, gone = with_records(body)
    keeps_types = True
    for _ in range(_MOST_RETRIES):
        try:
            functions = pgparse.parse_pgsql(_header(parameters, returns, keeps_types=keeps_types) + _quoted(text))
            break
        except RecursionError:
            raise Unreadable(UNREADABLE) from None
        except pgparse.PGQueryError as error:
            message = str(error.args[0]) if error.args else ""
            if "multiple-item INTO list" in message and keeps_types:
                keeps_types = False                 # an enum of a schema is no record either
                continue
            unknown = _UNKNOWN_VARIABLE.search(message)
            is_short = len(text) <= _LONGEST_RETRIED
            changed = with_record(text, unknown.group(1)) if unknown is not None and is_short else None
            if changed is None:
                raise Unreadable(UNREADABLE) from None
            text, gone = changed[0], gone | changed[1]
    else:
        raise Unreadable(UNREADABLE)
    if len(functions) != 1:
        raise Unreadable(UNREADABLE)
    function = functions[0]["PLpgSQL_function"]
    records = set(_records(function))
    if len(records) > _MOST_RECORDS:
        raise Unreadable("it is too long")
    if hides_default(body, records):
        raise Unreadable("it declares a record with a default")
    walk = _Walk(function, gone, _given(parameters), runs_constants=text == body)
    walk.script.renames = has_alias(body)
    walk.run()
    return walk.script


def _given(parameters: list[Node]) -> frozenset[str]:
    """The names that parameters with a value have in a body."""
    return frozenset(
        node.get("name") or f"${number}" for number, node in enumerate(parameters, 1)
        if node.get("mode") not in ("FUNC_PARAM_OUT", "FUNC_PARAM_TABLE"))


def _header(parameters: list[Node], returns: Node, *, keeps_types: bool) -> str:
    """CREATE FUNCTION up to the body: what the parser needs of names, modes and types."""
    listed = []
    for node in parameters:
        mode = node.get("mode", "FUNC_PARAM_DEFAULT")
        word = {"FUNC_PARAM_OUT": "OUT", "FUNC_PARAM_TABLE": "OUT", "FUNC_PARAM_INOUT": "INOUT"}.get(mode, "")
        names = strings(node.get("argType", {}).get("names"))
        kept = ".".join(quote_name(name) for name in names) if keeps_types else "text"
        listed.append(f"{word} {quote_name(node['name']) if node.get('name') else ''} {kept}")
    is_trigger = strings(returns.get("names"))[-1:] == ("trigger",)
    kind = "trigger" if is_trigger else "SETOF int" if returns.get("setof") else "int"
    return f"CREATE FUNCTION f({', '.join(listed)}) RETURNS {kind} LANGUAGE plpgsql AS "


def _quoted(body: str) -> str:
    tag = "$body$"
    while tag in body:
        tag = f"{tag[:-1]}_$"
    return f"{tag}{body}{tag}"


def _records(function: Node) -> Iterator[str]:
    """Record variables that are declared: parameters, NEW and OLD have no line."""
    for datum in function.get("datums", ()):
        body = datum.get("PLpgSQL_rec")
        if body is not None and "lineno" in body:
            yield body.get("refname", "")


def _queries(tree: Any) -> Iterator[str]:
    """The text of every expression, wherever it stands."""
    for node in nodes(tree):
        if type(node.get("query")) is str:
            yield node["query"]


def _words(text: str) -> set[str]:
    """Everything in a text that may be the name of a variable."""
    try:
        return {name for node in nodes(pgparse.parse(text)) for name in strings(node.get("fields"))}
    except (pgparse.PGQueryError, RecursionError):
        raise Unreadable(UNREADABLE) from None


class _Walk:
    def __init__(self, function: Node, gone: frozenset[str], given: frozenset[str], runs_constants: bool) -> None:
        self.function = function
        self.script = Script(rows=gone)
        self.given = given
        self.runs_constants = runs_constants
        self.names: list[str] = []
        self.taken: set[str] = set()            # texts that were visited
        self.cursors: set[int] = set()          # numbers of variables that are opened, fetched from, moved or closed
        self.valued: set[int] = set()           # … that have a value other than what OPEN gives them
        self.calls: list[str] = []              # texts of CALL, which gives values to what it names

    def run(self) -> None:
        for datum in self.function.get("datums", ()):
            self._datum(datum)
        action = self.function.get("action", {})
        self._node("PLpgSQL_stmt_block", action.get("PLpgSQL_stmt_block", {}), frozenset())
        if not self.taken.issuperset(_queries(self.function)):
            raise Unreadable(UNREADABLE)        # a second witness: an expression is somewhere that no role leads to
        self._see_cursors()

    def _see_cursors(self) -> None:
        """Whether every cursor that the body uses is one that it opens, under a name that the server makes."""
        names = {self._name(number) for number in self.cursors}
        self.script.has_foreign_cursor = not self.cursors.isdisjoint(self.valued) or (bool(names) and any(
            self.script.renames or not names.isdisjoint(_words(text)) for text in self.calls))
        self.script.cursors = frozenset(names - {self._name(number) for number in self.valued})

    def _text(self, expression: Node) -> str:
        text = str(expression["PLpgSQL_expr"].get("query", ""))
        self.taken.add(text)
        return text

    def _datum(self, datum: Node) -> None:
        kind, body = next(iter(datum.items()))
        if kind not in _DATUMS or not _EVERYWHERE.union(_DATUMS[kind]).issuperset(body):
            raise Unreadable(UNREADABLE)
        name = body.get("refname", body.get("fieldname", ""))
        if kind == "PLpgSQL_recfield":
            parent = body.get("recparentno", 0)
            name = f"{self.names[parent]}.{name}" if parent < len(self.names) else name
        elif kind != "PLpgSQL_row":
            self.script.variables.add(name)
        self.names.append(name)
        if kind != "PLpgSQL_var":
            return
        self.script.types.add(body.get("datatype", {}).get("PLpgSQL_type", {}).get("typname", ""))
        if "default_val" in body or ("lineno" not in body and name in self.given):
            self.valued.add(len(self.names) - 1)
        for key in ("default_val", "cursor_explicit_expr"):
            if key in body:
                sql = self._text(body[key])
                self._add(sql if key == "cursor_explicit_expr" else f"SELECT {sql}", (name,), frozenset())

    # ---------------------------------------------------------------- statements

    def _body(self, items: list[Node], under: frozenset[int]) -> None:
        for item in items:
            for kind, body in item.items():
                self._node(kind, body, under)

    def _node(self, kind: str, body: Node, under: frozenset[int]) -> frozenset[int]:
        """Visits a node; what decides about what follows it in its parent comes back."""
        fields = _FIELDS.get(kind)
        if fields is None or not set(body) <= set(fields) | _EVERYWHERE | ({"query", "parseMode"} if not fields else set()):
            raise Unreadable(UNREADABLE)
        if kind == "PLpgSQL_expr":
            self._add(f"SELECT {self._text({kind: body})}", (), under)
            return under
        if kind in _ENDS:
            self._add(_ENDS[kind], (), under)
        if "curvar" in fields:
            self.cursors.add(body.get("curvar", 0))
        if body.get("is_call"):
            self.calls.append(self._text(body["expr"]))
        targets = self._targets(body, fields)
        parameters = tuple(f"SELECT {self._text(item)}" for item in body.get("params", ()) if fields.get("params") == "params")
        start = len(self.script.evaluations)
        for name, role in fields.items():
            if name in body and role:
                under = self._field(role, body[name], targets, parameters, under, start)
        if kind in _EXITS and body.get("elog_level", _ERROR) >= _ERROR:
            (self.script.jumps if kind == "PLpgSQL_stmt_exit" else self.script.returns).append(under)
        if kind == "PLpgSQL_stmt_return":
            self.script.leaves.append(under)
        return under

    def _field(self, role: str, value: Any, targets: tuple[str, ...], parameters: tuple[str, ...],
               under: frozenset[int], start: int) -> frozenset[int]:
        if role == "body":
            self._body(value, under)
        elif role == "nodes":
            for item in value:
                for kind, body in item.items():
                    under = self._node(kind, body, under)
        elif role == "handlers":
            self.script.catches = True
            # which of them runs, and whether, is for everything in the block to say
            inside = under | frozenset(range(start, len(self.script.evaluations)))
            self._node("PLpgSQL_exception_block", value["PLpgSQL_exception_block"], inside)
        elif role == "assign":
            self._assign(self._text(value), targets, under)
        elif role in ("eval", "control", "range", "return"):
            index = self._add(f"SELECT {self._text(value)}", targets, under, returns=role == "return",
                              iterates=role == "range")
            return under | {index} if role in ("control", "range") else under
        elif role in ("query", "loop"):
            index = self._add(self._text(value), targets, under, counts=True)
            return under | {index} if role == "loop" else under
        elif role == "dynamic":
            index = self._add(self._constant(self._text(value)), targets, under, parameters, counts=True)
            for parameter in parameters:
                self._add(parameter, (), under)
            return under | {index}
        elif role == "cursor":
            index = self._add(f"SELECT {quote_name(self._name(value))}", targets, under, iterates=True)
            return under | {index}
        return under

    def _assign(self, text: str, targets: tuple[str, ...], under: frozenset[int]) -> None:
        match = _TARGET.match(text)
        if match is None:
            raise Unreadable("it assigns in a way that is not understood")
        if "[" in match.group(1):
            self._add(f"SELECT {match.group(1)}", targets, under)      # a subscript is evaluated too
        self._add(f"SELECT {text[match.end():]}", targets, under)

    def _constant(self, expression: str) -> str:
        """The SQL that EXECUTE runs, where it is written out."""
        try:
            trees = pgparse.parse(f"SELECT {expression}")
            targets = trees[0]["stmt"]["SelectStmt"]
            value = targets["targetList"][0]["ResTarget"]["val"]["A_Const"]["sval"]["sval"]
        except (pgparse.PGQueryError, RecursionError, KeyError, IndexError):
            raise Unreadable(DYNAMIC) from None
        if len(trees) != 1 or len(targets["targetList"]) != 1 or "fromClause" in targets or not self.runs_constants:
            raise Unreadable(DYNAMIC)
        return str(value)

    def _add(self, sql: str, targets: tuple[str, ...], under: frozenset[int], parameters: tuple[str, ...] = (), *,
             returns: bool = False, counts: bool = False, iterates: bool = False) -> int:
        if len(self.script.evaluations) >= MOST_EVALUATIONS:
            raise Unreadable("it is too long")
        self.script.evaluations.append(Evaluation(sql, targets, parameters, under, returns, counts, iterates))
        return len(self.script.evaluations) - 1

    # ---------------------------------------------------------------- variables

    def _targets(self, body: Node, fields: dict[str, str]) -> tuple[str, ...]:
        found: list[str] = []
        for name, role in fields.items():
            value = body.get(name)
            if role in ("varno", "opened"):
                found.append(self._name(value or 0))        # a number 0 is left out
            if role == "varno":
                self.valued.add(value or 0)
            elif role in ("opened", "closed"):
                (self.script.opened if role == "opened" else self.script.closed).add(self._name(value or 0))
            elif role == "into" and value is not None:
                for kind, variable in value.items():
                    if kind == "PLpgSQL_row":
                        fields_of = [item for item in variable.get("fields", ()) if item is not None]
                        found += [item["name"] for item in fields_of]
                        self.valued.update(item.get("varno", 0) for item in fields_of)
                    else:
                        found.append(variable.get("refname", ""))
            elif role == "cursor" and "direction" in fields:
                found.append(self._name(value or 0))        # where it stands afterwards
            elif role == "diagnostics" and value is not None:
                self._diagnostics(value, bool(body.get("is_stacked")))
        return tuple(found)

    def _diagnostics(self, items: list[Node], is_stacked: bool) -> None:
        for item in items:
            diagnostic = item["PLpgSQL_diag_item"]
            # what an error said is as good as `sqlerrm`; the other diagnostics hold no value of a row
            source = "sqlerrm" if is_stacked else "found"
            self.valued.add(diagnostic.get("target", 0))
            self._add(f"SELECT {source}", (self._name(diagnostic.get("target", 0)),), frozenset())

    def _name(self, index: int) -> str:
        if not 0 <= index < len(self.names):
            raise Unreadable(UNREADABLE)
        return self.names[index]

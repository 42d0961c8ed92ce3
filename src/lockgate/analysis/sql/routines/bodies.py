"""What one routine says by itself: its definition, read once.

Apart from `closure`, which follows what it calls, because this needs no catalogue: equal definitions are
equal bodies, whatever database they are from, and are kept by their text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import pgparse

from lockgate.analysis.sql.code import Name
from lockgate.analysis.sql.effects import MOST_BLOCKS, read
from lockgate.analysis.sql.errors import NotUnderstood
from lockgate.analysis.sql.parser import nodes, parse_trees
from lockgate.analysis.sql.reading import Node, Reading, qualified, strings
from lockgate.analysis.sql.routines.declarations import stored
from lockgate.analysis.sql.routines.plpgsql import UNREADABLE, Evaluation, Script, Unreadable, script_of
from lockgate.analysis.sql.settings import PINNED
from lockgate.analysis.sql.statement import Statement
from lockgate.analysis.sql.text import require_flat, require_parsable, strip_comments

_MOST_KEPT: Final = 2_048
_PATH: Final = re.compile(r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\W\d][\w$]*))*')
_PART: Final = re.compile(r'"(?:[^"]|"")+"|[^\W\d][\w$]*')
_FOREIGN_CURSOR: Final = "it uses a cursor whose name it may have from elsewhere"
"""A name picks any portal of the session: one that was bound and never judged, or one that the session reads later."""
_SETTING: Final = "it changes a setting that the gateway relies on"
_IN_SESSION: Final = frozenset(("CopyStmt", "DiscardStmt", "LoadStmt", "PrepareStmt"))
"""Statements whose meaning or effect lies in the session or outside: nobody follows what a routine leaves there.
Those that name prepared statements and cursors are known by what `effects` reads of them."""


Mention = tuple[str | None, str]
"""A reference to a column or a row: what stands before the last dot, and the last name; `*` stands for all."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a routine evaluates. `mentions` holds, for each statement of `statement`, its references to columns and rows. `own` are its variables and parameters, `types` what it declares,
    `rows` relations whose columns' types it declares. `opaque` says why its effect is not known, or is None."""

    statement: Statement | None
    mentions: tuple[frozenset[Mention], ...] = ()
    own: frozenset[str] = frozenset()
    types: frozenset[Name] = frozenset()
    rows: frozenset[Name] = frozenset()
    catches: bool = False
    opaque: str | None = None

    @property
    def reading(self) -> Reading:
        """Of all its statements; nothing where it is opaque."""
        return Reading() if self.statement is None or self.statement.reading is None else self.statement.reading


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a body as a tree, with what `plpgsql.Evaluation` says of it."""

    tree: Node
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Source:
    """A definition taken apart: its steps in order, and the script where it is PL/pgSQL."""

    steps: tuple[Step, ...]
    parameters: tuple[str, ...]
    types: frozenset[Name]
    script: Script


def body_of(language: str, definition: str | None) -> Body:
    """The body of a definition (see `code.Routine`), or of a DO block where the language is "block". Raises nothing."""
    return _block_of(definition) if language == "block" else _kept_body_of(language, definition)


@lru_cache(maxsize=_MOST_KEPT)
def _kept_body_of(language: str, definition: str | None) -> Body:
    return _tried(language, definition)


@lru_cache(maxsize=MOST_BLOCKS)     # a client sends as many as it likes; a statement asks a few times for its own
def _block_of(body: str | None) -> Body:
    return _tried("block", body)


def _tried(language: str, definition: str | None) -> Body:
    try:
        return _body(source_of(language, definition))
    except Unreadable as error:
        return Body(None, opaque=error.why)
    except (NotUnderstood, RecursionError):
        return Body(None, opaque=UNREADABLE)


def source_of(language: str, definition: str | None) -> Source:
    """The steps of a definition. Raises `Unreadable`."""
    if definition is None:
        raise Unreadable(f"it is written in {language}" if language not in ("", "sql", "plpgsql") else
                         "its body is not known")
    if language == "expression":
        return Source(_steps([Evaluation(f"SELECT {definition}")]), (), frozenset(), Script())
    if language == "block":                             # manual, "DO": a function without arguments, returning void
        bare = strip_comments(definition)               # a client sends it: it is weighed like a statement
        require_parsable(bare, bare.encode(), 0)
        script = script_of([], {}, definition)
        return Source(_steps(script.evaluations), (), frozenset(), script)
    trees = _parsed(definition)
    if len(trees) != 1 or "CreateFunctionStmt" not in trees[0]["stmt"]:
        raise Unreadable(UNREADABLE)
    node = trees[0]["stmt"]["CreateFunctionStmt"]
    _require_settings(node)
    parameters = [item.get("FunctionParameter", {}) for item in node.get("parameters", ())]
    names = tuple(parameter["name"] for parameter in parameters if "name" in parameter)
    stated = [*(parameter.get("argType", {}) for parameter in parameters), node.get("returnType", {})]
    types = {qualified(one.get("names")) for one in stated}
    steps = [_expression(parameter["defexpr"]) for parameter in parameters if "defexpr" in parameter]
    if "sql_body" in node:
        steps += _atomic(node["sql_body"])
        return Source(tuple(steps), names, frozenset(types), Script())
    text = _text(node)
    if language == "sql":
        steps += _steps([Evaluation(text)])
        return Source(tuple(steps), names, frozenset(types), Script())
    script = script_of(parameters, node.get("returnType", {}), text)
    return Source((*steps, *_steps(script.evaluations)), names, frozenset(types), script)


def _require_settings(node: Node) -> None:
    """A SET clause may not change how the body's own text is read."""
    for option in node.get("options", ()):
        element = option.get("DefElem", {})
        if element.get("defname") == "set" and element.get("arg", {}).get("VariableSetStmt", {}).get("name", "").lower() in PINNED:
            raise Unreadable(_SETTING)


def _text(node: Node) -> str:
    """The string behind AS; the definition has one for each of the two languages."""
    for option in node.get("options", ()):
        element = option.get("DefElem", {})
        if element.get("defname") == "as":
            items = element.get("arg", {}).get("List", {}).get("items", ())
            if len(items) == 1:
                return str(items[0].get("String", {}).get("sval", ""))
    raise Unreadable(UNREADABLE)


def _atomic(node: Node) -> list[Step]:
    """BEGIN ATOMIC … END, or RETURN with an expression."""
    if "ReturnStmt" in node:
        return [_expression(node["ReturnStmt"].get("returnval", {}))]
    found: list[Step] = []
    for item in node.get("List", {}).get("items", ()):
        for statement in item.get("List", {}).get("items", [item] if item else ()):
            if "ReturnStmt" in statement:
                found.append(_expression(statement["ReturnStmt"].get("returnval", {})))
            else:
                found.append(Step(statement, Evaluation("")))
    return found


def _expression(value: Node) -> Step:
    return Step({"SelectStmt": {"targetList": [{"ResTarget": {"val": value}}]}}, Evaluation(""))


def _steps(evaluations: list[Evaluation]) -> tuple[Step, ...]:
    """Each statement of each evaluation. The numbers of `under` count evaluations: they are the steps' own
    where each evaluation is one statement."""
    found: list[Step] = []
    for evaluation in evaluations:
        trees = _parsed(evaluation.sql)
        if len(trees) != 1 and len(evaluations) > 1:
            raise Unreadable("it runs several statements as one")
        found += [Step(tree["stmt"], evaluation) for tree in trees]
    return tuple(found)


def _parsed(text: str) -> list[Any]:
    require_flat(text)
    try:
        return parse_trees(text)
    except pgparse.PGQueryError:
        raise Unreadable(UNREADABLE) from None


def _body(source: Source) -> Body:
    for step in source.steps:
        if not _IN_SESSION.isdisjoint(step.tree):
            raise Unreadable("it runs a statement that leaves something in the session")
    trees = [{"stmt": step.tree} for step in source.steps]
    statement = read(trees, "", b"")
    reading, script = statement.reading, source.script
    assert reading is not None
    if reading.blocks:
        raise Unreadable("it runs another block")       # each level would be read anew, with all that is inside it
    reasons = [why for why in reading.opaque if not why.startswith("function ") and why not in ("CALL", "DO")]
    if reasons:
        raise Unreadable(f"it has a statement whose effect is not known ({reasons[0]})")
    if (statement.executes or statement.deallocates or statement.cursors_declared or statement.cursors_fetched
            or statement.cursors_closed):
        raise Unreadable("it runs a statement that leaves something in the session")
    if statement.forbidden is not None or statement.application is not None:
        raise Unreadable(_SETTING)
    if script.has_foreign_cursor:
        raise Unreadable(_FOREIGN_CURSOR)
    if any(node["CurrentOfExpr"].get("cursor_name") not in script.cursors
           for step in source.steps for node in nodes(step.tree) if "CurrentOfExpr" in node):
        raise Unreadable("it changes the row of a cursor that it may not have opened")
    types, rows = set(source.types), {(None, name) for name in script.rows}
    for text in script.types:
        for path in _PATH.findall(text):
            parts = [stored(part) for part in _PART.findall(path)]
            types.add((None, parts[-1]))
            if "%" in text:
                rows.update((None, part) for part in parts)
    return Body(
        statement, tuple(frozenset(mentions_of(step.tree)) for step in source.steps),
        frozenset(script.variables) | frozenset(source.parameters), frozenset(types), frozenset(rows), script.catches,
    )


def mentions_of(tree: Any) -> set[Mention]:
    """How a statement refers to columns and rows; `(None, "*")` where it may refer to any."""
    found: set[Mention] = set()
    stack = [tree]
    while stack:
        value = stack.pop()
        if type(value) is list:
            stack.extend(value)
            continue
        if type(value) is not dict:
            continue
        for key, child in value.items():
            if key == "ColumnRef":
                names = strings(child.get("fields"))
                found.add((names[-2] if len(names) > 1 else None, names[-1]) if names else (None, "*"))
            elif key == "usingClause":
                found.update((None, name) for name in strings(child))
            elif key == "A_Indirection":
                found.update((None, name) for name in strings(child.get("indirection")) if name)
            elif key == "CurrentOfExpr":
                found.add((None, child.get("cursor_name", "")))
            elif key == "isNatural" or (key == "alias" and "colnames" in child) or (key == "JoinExpr" and "alias" in child):
                found.add((None, "*"))
            stack.append(child)
    return found

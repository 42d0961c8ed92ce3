"""One pass over a parse tree: which relations, columns, functions and effects a statement names.

The tree is libpg_query's JSON form as nested dicts; the walk uses an explicit stack, so that depth
costs memory and never the C stack. Common table expressions are resolved here (manual, "WITH
Queries"): a name that a WITH in scope defines is not a relation. A node that the walk does not know
makes the statement opaque. What is collected is all that `rewrite` and the facts need; the tree
itself is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from lockgate.analysis.sql.conditions import is_tautology
from lockgate.analysis.sql.errors import TOO_COMPLEX, NotUnderstood
from lockgate.analysis.sql.functions import FILES, is_admitted

Node = dict[str, Any]
Scope = frozenset[str]
Stack = list[tuple[Any, Scope, int]]

NO_TARGET: Final = -1
NOTHING: Final[Scope] = frozenset()
_MOST_CTES: Final = 1_000
"""In all of a string. Each query of a WITH has a scope of its own: their number squared is what they cost."""


class Use(NamedTuple):
    """A relation named in the text. `location` is a byte offset; `kind` is read, target, copy,
    create or utility; `context` is the statement's node name; `alias` None where there is none."""

    kind: str
    context: str
    schema: str | None
    name: str
    location: int
    inherit: bool = True
    alias: str | None = None
    sample: int = -1
    """Byte offset of the method's name in TABLESAMPLE; -1 where there is none."""
    is_table_command: bool = False
    statement: int = 0
    catalog: str | None = None


class Target:
    """The relation that one INSERT, UPDATE, DELETE or MERGE changes, the columns that it sets, and those (or whether a
    constraint) that its ON CONFLICT names."""

    __slots__ = ("columns", "infer", "kind", "names_constraint", "use")

    def __init__(self, kind: str, use: Use) -> None:
        self.kind = kind
        self.use = use
        self.columns: list[str] = []                    # columns set
        self.infer: list[str] = []                      # ON CONFLICT (columns)
        self.names_constraint = False                   # ON CONFLICT ON CONSTRAINT


class Reading:
    """Everything that was found; filled by `Reader`, read-only afterwards."""

    __slots__ = (
        "arities",
        "attributes",
        "blocks",
        "columns",
        "created",
        "functions",
        "groups",
        "keywords",
        "opaque",
        "operators",
        "qualified",
        "renames",
        "settings",
        "targets",
        "temporary",
        "types",
        "unbounded",
        "unknown",
        "uses",
        "utilities",
        "verbs",
    )

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.targets: list[Target] = []
        self.columns: list[tuple[str, ...]] = []
        self.qualified: list[tuple[int, tuple[str, ...]]] = []     # references with a schema: position, names
        self.functions: list[tuple[str | None, str]] = []
        self.arities: dict[tuple[str | None, str], set[int]] = {}   # arguments given; negative where not plain
        self.blocks: list[str] = []                 # bodies of DO in PL/pgSQL
        self.groups = False                         # there is a GROUP BY
        self.operators: set[tuple[str | None, str]] = set()
        self.types: set[tuple[str | None, str]] = set()
        self.attributes: set[str] = set()           # names after a dot, which may be functions
        self.keywords: set[str] = set()             # SQL/JSON syntax that older servers take for functions
        self.unknown: set[str] = set()
        self.verbs: set[str] = set()
        self.created: list[tuple[str | None, str]] = []
        self.temporary: set[int] = set()            # which of them are TEMPORARY
        self.opaque: list[str] = []                 # why the effect is unknown
        self.settings: list[tuple[str, str | None]] = []           # set_config(name, …) with constants
        self.utilities: list[tuple[str, Node]] = []
        self.unbounded = False                      # an UPDATE or DELETE whose WHERE restricts nothing
        self.renames = False                        # columns can be read by names that are not theirs


_LEAVES: Final = frozenset((
    "A_Const", "ParamRef", "String", "Integer", "Float", "Boolean", "BitString", "SetToDefault",
    "SQLValueFunction", "A_Star", "CurrentOfExpr", "LockingClause", "MergeSupportFunc", "alias", "Alias", "join_using_alias",
))
_PLAIN: Final = frozenset((
    "A_ArrayExpr", "A_Indices", "BoolExpr", "BooleanTest", "CaseExpr", "CaseWhen", "CoalesceExpr",
    "CollateClause", "ColumnDef", "CommonTableExpr", "Constraint", "DefElem", "GroupingFunc", "GroupingSet",
    "IndexElem", "List", "MergeWhenClause", "MinMaxExpr", "MultiAssignRef", "NamedArgExpr", "NullTest",
    "PartitionElem", "PartitionSpec", "RangeFunction", "RangeSubselect", "RangeTableFunc", "RangeTableFuncCol",
    "RowExpr", "TableLikeClause", "WindowDef", "XmlExpr", "XmlSerialize", "RoleSpec", "VacuumRelation",
    "AlterTableCmd", "AccessPriv", "ObjectWithArgs", "FunctionParameter", "PartitionRangeDatum", "PartitionBoundSpec",
    "PartitionCmd", "StatsElem", "TriggerTransition", "PublicationObjSpec", "PublicationTable", "ReplicaIdentityStmt",
    "CreateOpClassItem", "ReturnStmt",
))
_JSON_SYNTAX: Final = {
    "JsonObjectConstructor": "json_object", "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array", "JsonObjectAgg": "json_objectagg", "JsonArrayAgg": "json_arrayagg",
    "JsonParseExpr": "json", "JsonScalarExpr": "json_scalar", "JsonSerializeExpr": "json_serialize",
    "JsonTable": "json_table", "JsonFuncExpr": "json_query", "JsonIsPredicate": "", "JsonValueExpr": "",
    "JsonAggConstructor": "", "JsonKeyValue": "", "JsonOutput": "", "JsonReturning": "", "JsonFormat": "",
    "JsonTablePathSpec": "", "JsonTableColumn": "", "JsonArgument": "", "JsonBehavior": "",
}


_EMPTY: Final[Node] = {}


def strings(items: list[Node] | None) -> tuple[str, ...]:
    """The texts of a list of String nodes; a star is `*`."""
    return tuple(["*" if "A_Star" in item else item.get("String", _EMPTY).get("sval", "") for item in items or ()])


def qualified(items: list[Node] | None) -> tuple[str | None, str]:
    """Schema and name of a dotted name."""
    if items is not None and len(items) == 1 and "String" in items[0]:      # most are, and this runs for each node
        return (None, items[0]["String"].get("sval", ""))
    names = strings(items)
    return (names[-2] if len(names) > 1 else None, names[-1] if names else "")


class Reader:
    """Walks statements of one string and collects into `reading`."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.is_tautology = False
        self.context = ""
        self.kind = "read"                  # what a RangeVar found on the way means
        self.statement = 0
        self.ctes = 0

    # ---------------------------------------------------------------- the walk

    def walk(self, node: Any, context: str, kind: str = "read") -> None:
        """Visits everything below `node`, which belongs to a statement of type `context`."""
        before = self.context, self.kind
        self.context, self.kind = context, kind
        stack: Stack = [(node, NOTHING, NO_TARGET)]
        find = _HANDLERS.get
        while stack:
            value, scope, target = stack.pop()
            for part in value if type(value) is list else (value,):
                if type(part) is not dict:
                    if type(part) is list:
                        stack.append((part, scope, target))
                    continue
                for key, child in part.items():
                    if type(child) is dict:
                        handler = find(key)
                        if handler is not None:
                            handler(self, child, scope, target, stack)
                        elif key not in _LEAVES:
                            if "relname" in child:
                                self._range_var(child, scope, target, stack)
                            else:
                                if key not in _PLAIN and key[0].isupper():
                                    self._other(key)
                                stack.append((child, scope, target))
                    elif type(child) is list:
                        stack.append((child, scope, target))
        self.context, self.kind = before

    def _part(self, node: Node | None, scope: Scope, target: int, stack: Stack) -> None:
        """Puts an expression on the stack, or reads it at once where it is a column or a leaf: most are."""
        if node is None:
            return
        for key, child in node.items():
            if key == "ColumnRef":
                self._column(child, scope, target, stack)
            elif key not in _LEAVES:
                stack.append((node, scope, target))

    def _other(self, key: str) -> None:
        syntax = _JSON_SYNTAX.get(key)
        if syntax is None:
            self.reading.unknown.add(key)
        elif syntax:
            self.reading.keywords.add(syntax)

    # ---------------------------------------------------------------- leaves of interest

    def _column(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        fields = node["fields"]
        if len(fields) == 1 and "String" in fields[0]:
            names: tuple[str, ...] = (fields[0]["String"].get("sval", ""),)
        else:
            names = strings(fields)
        reading = self.reading
        reading.columns.append(names)
        if len(names) > 1:
            reading.attributes.add(names[-1])
            if len(names) > 2:
                reading.qualified.append((node.get("location", 0), names))

    def _indirection(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        stack.append((node.get("arg"), scope, target))
        for item in node.get("indirection", ()):
            if "String" in item:
                self.reading.attributes.add(item["String"].get("sval", ""))
            else:
                stack.append((item, scope, target))

    def _function(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        schema, name = qualified(node.get("funcname"))
        self.reading.functions.append((schema, name))
        count = -1 if "func_variadic" in node or "agg_within_group" in node else len(node.get("args", ()))
        self.reading.arities.setdefault((schema, name), set()).add(count)
        if not is_admitted(schema, name) and not (name == "set_config" and self._is_plain_setting(node)):
            self.reading.opaque.append(f"function {name}")
        for key in ("args", "agg_order", "agg_filter", "over"):
            child = node.get(key)
            if child is not None:
                stack.append((child, scope, target))

    def _is_plain_setting(self, node: Node) -> bool:
        """`set_config` with a constant name (and value) is a SET; anything else is opaque."""
        args = node.get("args", [])
        constants = [item.get("A_Const", {}).get("sval", {}).get("sval") for item in args[:2]]
        if constants[1:] == ["view, foreign-table"] and constants[0] is None:
            # pg_dump's own way to set restrict_nonsystem_relation_kind where the server has it; no
            # parameter that matters here takes this value
            self.reading.settings.append(("restrict_nonsystem_relation_kind", constants[1]))
            return True
        if not constants or constants[0] is None:
            self.reading.settings.append(("", None))
            return False
        self.reading.settings.append((constants[0].lower(), constants[1] if len(constants) > 1 else None))
        return True

    def _operator(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        self.reading.operators.add(qualified(node.get("name")))
        self._part(node.get("lexpr"), scope, target, stack)
        self._part(node.get("rexpr"), scope, target, stack)

    def _result(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        value = node.get("val")
        if value is not None:
            for key, child in value.items():        # read at once: what is below its handler goes on the stack
                handler = _HANDLERS.get(key)
                if handler is not None:
                    handler(self, child, scope, target, stack)
                elif key not in _LEAVES:
                    stack.append((value, scope, target))
        if "indirection" in node:
            stack.append((node["indirection"], scope, target))

    def _sublink(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        if "operName" in node:
            self.reading.operators.add(qualified(node["operName"]))
        for key in ("testexpr", "subselect"):
            child = node.get(key)
            if child is not None:
                stack.append((child, scope, target))

    def _sort(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        if "useOp" in node:
            self.reading.operators.add(qualified(node["useOp"]))
        self._part(node.get("node"), scope, target, stack)

    def _cast(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        self._type(node.get("typeName", {}), scope, target, stack)
        self._part(node.get("arg"), scope, target, stack)

    def _type(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        self.reading.types.add(qualified(node.get("names")))

    # ---------------------------------------------------------------- relations

    def _range_var(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        name = node.get("relname", "")
        schema = node.get("schemaname")
        if schema is None and name in scope and self.kind == "read":
            return
        self.reading.uses.append(self._use(node, self.kind))

    def _join(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        for name in strings(node.get("usingClause")):
            self._column({"fields": [{"String": {"sval": name}}]}, scope, target, stack)
        if "isNatural" in node or "alias" in node:
            self.reading.renames = True
        for key in ("larg", "rarg", "quals"):
            child = node.get(key)
            if child is not None:
                stack.append((child, scope, target))

    def _use(self, node: Node, kind: str, **more: Any) -> Use:
        alias = node.get("alias")
        if alias and "colnames" in alias:
            self.reading.renames = True
        return Use(kind, self.context, node.get("schemaname"), node.get("relname", ""), node.get("location", 0),
                   bool(node.get("inh")), alias.get("aliasname") if alias else None, statement=self.statement,
                   catalog=node.get("catalogname"), **more)

    def _sample(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        relation = node.get("relation", {}).get("RangeVar")
        if relation is None:
            self.reading.unknown.add("RangeTableSample")
            return
        if relation.get("schemaname") is not None or relation.get("relname") not in scope:
            self.reading.uses.append(self._use(relation, "read", sample=node.get("location", 0)))
        method = qualified(node.get("method"))
        if method not in ((None, "system"), (None, "bernoulli"), ("pg_catalog", "system"), ("pg_catalog", "bernoulli")):
            self.reading.opaque.append(f"function {method[1]}")
        stack.append((node.get("args"), scope, target))
        stack.append((node.get("repeatable"), scope, target))

    # ---------------------------------------------------------------- queries

    def _with(self, clause: Node, scope: Scope, target: int, stack: Stack) -> Scope:
        """Visits the WITH's queries; returns what is in scope after it."""
        ctes = [item.get("CommonTableExpr", {}) for item in clause.get("ctes", ())]
        self.ctes += len(ctes)
        if self.ctes > _MOST_CTES:
            raise NotUnderstood(TOO_COMPLEX, f"the statement has more than {_MOST_CTES} WITH queries")
        if clause.get("recursive"):
            scope = scope | {cte.get("ctename", "") for cte in ctes}
        for cte in ctes:
            stack.append((cte.get("ctequery"), scope, target))
            cycle = cte.get("cycle_clause")
            if cycle is not None:
                stack.append(([cycle.get("cycle_mark_value"), cycle.get("cycle_mark_default")], scope, target))
            scope = scope | {cte.get("ctename", "")}
        return scope

    def _select(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        self.reading.verbs.add("select")
        clause = node.get("withClause")
        if clause is not None:
            scope = self._with(clause, scope, target, stack)
        for key, child in node.items():
            if type(child) is list:
                if key == "lockingClause":
                    continue
                if key == "groupClause":
                    self.reading.groups = True
                if key == "fromClause" and len(child) == 1 and _is_table_command(node):
                    relation = child[0]["RangeVar"]
                    if relation.get("schemaname") is not None or relation.get("relname") not in scope:
                        self.reading.uses.append(self._use(relation, "read", is_table_command=True))
                    continue
                if key == "targetList" and target >= 0:
                    # a star in a sub-select is that of its own FROM, never of the DML's target
                    child = [item for item in child if not self._is_star(item)]
                stack.append((child, scope, target))
            elif type(child) is dict:
                if key in ("larg", "rarg"):
                    stack.append(({"SelectStmt": child}, scope, target))
                elif key == "intoClause":
                    self.reading.verbs.add("create")
                    self.created(child.get("rel", {}))
                elif key != "withClause":
                    stack.append((child, scope, target))

    def _is_star(self, item: Node) -> bool:
        fields = item.get("ResTarget", {}).get("val", {}).get("ColumnRef", {}).get("fields", ())
        if len(fields) == 1 and "A_Star" in fields[0]:
            self.reading.columns.append(("*",))
            return True
        return False

    def created(self, relation: Node) -> None:
        """Notes a relation that the statement makes."""
        schema = relation.get("schemaname")
        if relation.get("relpersistence") == "t":
            self.reading.temporary.add(len(self.reading.created))
        self.reading.created.append((schema, relation.get("relname", "")))
        self.reading.uses.append(self._use(relation, "create"))

    def _target(self, kind: str, node: Node, scope: Scope, stack: Stack) -> tuple[int, Scope]:
        reading = self.reading
        reading.verbs.add(kind)
        use = self._use(node.get("relation", {}), "target")
        reading.uses.append(use)
        reading.targets.append(Target(kind, use))
        clause = node.get("withClause")
        if clause is not None:
            scope = self._with(clause, scope, NO_TARGET, stack)
        return len(reading.targets) - 1, scope

    def _assigned(self, index: int, items: list[Node] | None) -> None:
        columns = self.reading.targets[index].columns
        for item in items or ():
            columns.append(item.get("ResTarget", {}).get("name", ""))

    def _insert(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        index, scope = self._target("insert", node, scope, stack)
        self._assigned(index, node.get("cols"))
        if "cols" not in node:
            self.reading.targets[index].columns.append("*")
        stack.append((node.get("cols"), scope, NO_TARGET))
        source = node.get("selectStmt")
        body = source.get("SelectStmt", {}) if source is not None else {}
        if "valuesLists" in body and "withClause" not in body:
            source = list(body.values())            # VALUES (…) selects nothing by itself
        stack.append((source, scope, NO_TARGET))
        stack.append((node.get("returningList"), scope, index))
        conflict = node.get("onConflictClause")
        if conflict is not None:
            if conflict.get("action") == "ONCONFLICT_UPDATE":
                self.reading.verbs.add("update")
            self._assigned(index, conflict.get("targetList"))
            inference = conflict.get("infer", {})
            found = self.reading.targets[index]
            found.names_constraint = "conname" in inference
            found.infer += [element.get("IndexElem", {}).get("name", "") for element in inference.get("indexElems", ())]
            stack.append((conflict, scope, index))

    def _restricted(self, condition: Node | None) -> None:
        if condition is None:
            self.reading.unbounded = True
        elif is_tautology(condition):
            self.reading.unbounded = self.is_tautology = True

    def _update(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        index, scope = self._target("update", node, scope, stack)
        self._assigned(index, node.get("targetList"))
        self._restricted(node.get("whereClause"))
        for key in ("targetList", "whereClause", "fromClause", "returningList"):
            stack.append((node.get(key), scope, index))

    def _delete(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        index, scope = self._target("delete", node, scope, stack)
        self._restricted(node.get("whereClause"))
        for key in ("whereClause", "usingClause", "returningList"):
            stack.append((node.get(key), scope, index))

    def _merge(self, node: Node, scope: Scope, target: int, stack: Stack) -> None:
        index, scope = self._target("merge", node, scope, stack)
        condition = node.get("joinCondition")
        is_judged = False
        for item in node.get("mergeWhenClauses", ()):
            clause = item.get("MergeWhenClause", {})
            action = {"CMD_INSERT": "insert", "CMD_UPDATE": "update", "CMD_DELETE": "delete"}.get(
                clause.get("commandType", ""))
            if action is not None:
                self.reading.verbs.add(action)
            if action in ("insert", "update"):
                self._assigned(index, clause.get("targetList"))
            if action in ("update", "delete") and "condition" not in clause and not is_judged:
                self._restricted(condition)
                is_judged = True           # the same condition for all of them: judged once
        for key in ("sourceRelation", "joinCondition", "mergeWhenClauses", "returningList"):
            stack.append((node.get(key), scope, index))


def _is_table_command(node: Node) -> bool:
    """`TABLE t` parses as SELECT * with a star that has no position."""
    targets = node.get("targetList", ())
    if len(targets) != 1 or "RangeVar" not in node["fromClause"][0]:
        return False
    column = targets[0].get("ResTarget", {}).get("val", {}).get("ColumnRef")
    return column is not None and column.get("location", 0) < 0


_Handler = Callable[[Reader, Node, Scope, int, Stack], None]
_HANDLERS: Final[dict[str, _Handler]] = {
    "ColumnRef": Reader._column,
    "A_Indirection": Reader._indirection,
    "FuncCall": Reader._function,
    "A_Expr": Reader._operator,
    "SubLink": Reader._sublink,
    "SortBy": Reader._sort,
    "TypeCast": Reader._cast,
    "ResTarget": Reader._result,
    "typeName": Reader._type,
    "TypeName": Reader._type,
    "RangeVar": Reader._range_var,
    "RangeTableSample": Reader._sample,
    "JoinExpr": Reader._join,
    "SelectStmt": Reader._select,
    "InsertStmt": Reader._insert,
    "UpdateStmt": Reader._update,
    "DeleteStmt": Reader._delete,
    "MergeStmt": Reader._merge,
}


def reads_files(functions: list[tuple[str | None, str]]) -> bool:
    """Whether a called function may touch files of the server."""
    return any(FILES.match(name) for _, name in functions)

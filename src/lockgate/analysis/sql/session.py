"""Names that exist only in one client's session: what the catalogue cannot know yet.

Mutable, one per session, changed by the protocol as statements succeed. `version` counts changes, so
that cached plans can be keyed by it. A name that is kept too long is harmless: it can only make an
unqualified name ambiguous, and ambiguity is refused.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from lockgate.analysis.sql.cursors import Cursors, Reach
from lockgate.analysis.sql.statement import Masked, Statement

if TYPE_CHECKING:
    from lockgate.analysis.sql.catalogue import Catalogue
    from lockgate.analysis.sql.reading import Reading

SHOWS_VALUES: Final = "shows real values"
"""Instead of a digest: what was prepared or opened by message fetches real values that are masked in its own result.
Run by another way, that result would be another's, and nothing would mask it."""

_LIMIT = 4096
_DEFINED = 1 << 20
"""Bytes of view definitions that a session keeps; what is beyond them cannot be looked through."""
_RENAMED = frozenset(("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE"))
_CANDIDATES = 64
_SERIALS = count(1)


class SessionNames:
    """Relations created, statements prepared by SQL or by message, and cursors that are open."""

    __slots__ = ("_defined", "_definitions", "_made", "_prepared", "_relations", "_serial", "_unclear", "_upwards",
                 "adopting", "cursors", "defines_code", "is_path_reported", "knows_all", "knows_prepared", "path",
                 "relations_version", "version")

    def __init__(self) -> None:
        self._serial = next(_SERIALS)
        self.version = 0
        self.relations_version = 0
        self.knows_all = True
        """False once it has made more relations than are kept: a name may mean one of them."""
        self._relations: dict[str, set[str | None]] = {}       # name → schemas
        self._made = 0
        self._definitions: dict[str, tuple[Reading | None, ...]] = {}
        self._defined = 0                           # bytes of them
        self._prepared: dict[str, dict[bytes, tuple[Statement, str]]] = {}
        self._unclear: set[str] = set()             # names with more candidates than are kept
        self.knows_prepared = True
        """False once code of unknown effect has run, which may have prepared other statements under any name."""
        self.cursors = Cursors()
        self.adopting: set[str] = set()
        """Names of relations that were given children which no catalogue shows yet, and of what those are children of."""
        self._upwards: dict[str, set[str]] = {}     # relations made as children: name → parents
        self.defines_code = False
        """Something ran that may have made functions, operators or the like which no catalogue shows yet."""
        self.path: tuple[str, ...] | None = None
        """The schemas of the search path, None where they are not known. Nothing rests on it but which of several
        relations of one name is meant: the one that is chosen is named with its schema in what goes on."""
        self.is_path_reported = False               # the backend says it when it changes (PostgreSQL 18)

    def stamp(self, statement: Statement) -> tuple[object, ...]:
        """What a plan for the statement depends on: equal stamps, equal plans. Sessions that made no
        relation share their plans."""
        by_name = self.version + self.cursors.version if statement.executes or statement.cursors_fetched else 0
        if by_name == 0 and not self._relations and not self.defines_code and not self.adopting:
            return (0, 0, 0, self.path)
        return (self._serial, self.relations_version, by_name, self.path)

    def succeeded(self, statement: Statement, masked: Masked, reach: Reach | None = None, *,
                  rolls_back: bool = False, running: str = "") -> None:
        """The server has carried out the whole string: its names are known from now on. Nothing behind a DEALLOCATE
        is judged before, so what is dropped here are no names of later ones.

        `reach` is what its cursors touch; `rolls_back`: the server said ROLLBACK of some of it; `running` is
        the portal that did it, if it has a name."""
        self.create_all(statement)
        self.run_code(statement)
        if not self.is_path_reported and ("search_path" in statement.sets or "all" in statement.sets):
            self.path = statement.search_path
        for name in statement.deallocates:
            self.deallocate(name)
        for prepared, inner in statement.prepares:
            self.prepare(prepared, inner, masked.masks_digest)
        for name in statement.cursors_closed:
            self.cursors.close(name)
        if statement.transaction:
            self.cursors.went_through(statement, rolls_back=rolls_back, running=running)
        for cursor, is_held in statement.cursors_left:
            self.cursors.opened(cursor, masked.masks_digest, reach, is_held=is_held)

    def path_may_move(self) -> None:
        """Code of unknown effect or a ROLLBACK is about to run: the path is unknown, unless the backend reports it."""
        if not self.is_path_reported:
            self.path = None

    # ---------------------------------------------------------------- relations

    def create(self, name: str, schema: str | None = None) -> None:
        """A relation was created, or may have been (the transaction is still open)."""
        self._add_relation((schema, name))

    def create_all(self, statement: Statement) -> None:
        """All relations that a statement creates, and whether it may have made code."""
        if statement.is_opaque and not self.defines_code:
            self.defines_code = True
            self.relations_version += 1
            self.version += 1
        if statement.reading is not None:
            temporary = statement.reading.temporary
            for index, (schema, name) in enumerate(statement.reading.created):
                self._add_relation(("pg_temp" if index in temporary else schema, name))
            self._define_all(statement, statement.reading)

    def confirm(self, catalogue: Catalogue) -> None:
        """Forget relations and code that the catalogue knows by now: they are like any other's. Call it with
        one that was taken after they were committed. Temporary ones stay, no catalogue shows them.
        """
        if self.defines_code or self.adopting or self._upwards:
            self.defines_code = False
            self.adopting.clear()
            self._upwards.clear()
            self.relations_version += 1
            self.version += 1
        known = [(name, schema) for name, schemas in self._relations.items() for schema in schemas
                 if schema != "pg_temp" and catalogue.candidates(schema, name)]
        for name, schema in known:
            self._relations[name].discard(schema)
            if not self._relations[name]:
                del self._relations[name]
        if known:
            self._made -= len(known)
            self.relations_version += 1
            self.version += 1

    def _add_relation(self, key: tuple[str | None, str]) -> None:
        schema, name = key
        if schema in self._relations.get(name, ()):
            return
        if self._made >= _LIMIT:
            self.knows_all = False
            return
        self._relations.setdefault(name, set()).add(schema)
        self._made += 1
        self.relations_version += 1
        self.version += 1

    def has_relation(self, schema: str | None, name: str) -> bool:
        """Whether this session made a relation that the name could mean."""
        made = self._relations.get(name)
        return made is not None and (schema is None or schema in made or None in made)

    def _define_all(self, statement: Statement, reading: Reading) -> None:
        """Views that the statement makes, and names that it gives to relations."""
        for use in reading.uses:
            if use.kind == "create" and use.context == "ViewStmt":
                self._define(use.name, reading, len(statement.text))
        for kind, body in reading.utilities:
            moved = body.get("relation", {})
            if kind == "RenameStmt" and body.get("renameType") in _RENAMED:
                is_temporary = "pg_temp" in self._relations.get(moved.get("relname", ""), ())
                self._add_relation(("pg_temp" if is_temporary else None, body.get("newname", "")))
                self._define(body.get("newname", ""), None)
            elif kind == "AlterObjectSchemaStmt" and body.get("objectType") in _RENAMED:
                self._add_relation((body.get("newschema"), moved.get("relname", "")))
                self._define(moved.get("relname", ""), None)
            elif kind == "CreateStmt" and "inhRelations" in body:
                self._is_child(moved.get("relname", ""), [
                    parent.get("RangeVar", {}).get("relname", "") for parent in body["inhRelations"]])
            elif kind == "AlterTableStmt":
                for item in body.get("cmds", ()):
                    command = item.get("AlterTableCmd", {})
                    if command.get("subtype") == "AT_AddInherit":
                        self._adopt(command.get("def", {}).get("RangeVar", {}).get("relname", ""))
                    elif command.get("subtype") == "AT_AttachPartition":
                        self._adopt(moved.get("relname", ""))

    def _is_child(self, name: str, parents: list[str]) -> None:
        """A new relation has no rows of another's; what is attached to it later is its parents' too."""
        if name not in self._upwards and len(self._upwards) >= _LIMIT:
            self.knows_all = False
            return
        self._upwards.setdefault(name, set()).update(parents)

    def _adopt(self, name: str) -> None:
        """Rows of a relation that was there before are the named one's from now on, and its parents'."""
        stack = [name]
        while stack:
            one = stack.pop()
            if one in self.adopting:
                continue
            if len(self.adopting) >= _LIMIT:
                self.knows_all = False
                return
            self.adopting.add(one)
            stack += self._upwards.get(one, ())
        self.relations_version += 1

    def _define(self, name: str, reading: Reading | None, size: int = 0) -> None:
        known = self._definitions.get(name, ())
        if None in known or reading in known:
            return
        if name not in self._definitions and len(self._definitions) >= _LIMIT:
            self.knows_all = False
            return
        self._defined += size
        is_kept = reading is not None and self._defined <= _DEFINED and len(known) < _CANDIDATES
        self._definitions[name] = (*known, reading) if is_kept else (None,)
        self.relations_version += 1

    def definitions(self, schema: str | None, name: str) -> tuple[Reading | None, ...]:
        """What a view of this session's may read by that name; None for one that is not known."""
        return self._definitions.get(name, ()) if self.has_relation(schema, name) else ()

    # ---------------------------------------------------------------- prepared statements

    def prepare(self, name: str, statement: Statement, digest: str = "") -> None:
        """A statement was prepared under labels with this `masks_digest`; a candidate besides earlier ones."""
        if name in self._unclear or (name not in self._prepared and len(self._prepared) >= _LIMIT):
            return
        candidates = self._prepared.setdefault(name, {})
        candidates[statement.key + digest.encode()] = (statement, digest)
        if len(candidates) > _CANDIDATES:           # too much to keep: the name is unknown from now on
            del self._prepared[name]
            self._unclear.add(name)
        self.version += 1

    def deallocate(self, name: str | None) -> None:
        """DEALLOCATE (None: ALL). Call it only once the server has said so."""
        if name is None:
            self._prepared.clear()
            self._unclear.clear()
            self.knows_prepared = True
        else:
            self._prepared.pop(name, None)
            self._unclear.discard(name)
        self.version += 1

    def prepared(self, name: str) -> tuple[tuple[Statement, str], ...]:
        """Every statement that the name may stand for, with the digest it was prepared under."""
        return tuple(self._prepared.get(name, {}).values())

    # ---------------------------------------------------------------- cursors

    def run_code(self, statement: Statement) -> None:
        """It is about to run, or has run: code of unknown effect may have closed any cursor and opened another one."""
        if statement.is_opaque and self._is_unknown(statement):
            self.cursors.lose()
            self.knows_prepared = False
            self.version += 1

    def _is_unknown(self, statement: Statement) -> bool:
        """Whether it may be any code; an EXECUTE is what the session knows of its name."""
        reading = statement.whole.reading
        if reading is None or any(why != "EXECUTE" for why in reading.opaque):
            return True
        known = [self.prepared(name) for name in statement.executes]
        return not all(known) or any(
            inner.is_opaque or inner.changes_names for candidates in known for inner, _ in candidates)

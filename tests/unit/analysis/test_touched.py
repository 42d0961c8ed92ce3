"""Conditions on relations and columns: no spelling, view, partition or name of one's own gets round them."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Analyzer, Masked, SessionNames, Touched, touched
from tests.unit.analysis.database import Database


def shop() -> Database:
    """Tables, views on views, partitions, a cascade, a rule, and a second relation of one name."""
    database = Database()
    customers = database.relation("customers", "id:int4 name ssn", schema="public")
    orders = database.relation("orders", "id:int4 customer:int4 note", "p", schema="public")
    old = database.relation("orders_old", "id:int4 customer:int4 note", schema="public")
    database.inherit(old, orders)
    database.relation("customers", "id:int4 name", schema="archive")
    database.relation("plain", "id:int4 word", schema="public")
    database.relation("v", "i:int4 s", "v", " SELECT c.id AS i, c.ssn AS s FROM public.customers c;", schema="public")
    database.relation("w", "i:int4", "v", " SELECT v.i FROM public.v;", schema="public")
    database.relation("odd", "i:int4", "v", " SELECT public.secret_fn() AS i;", schema="public")
    database.relation("ruled", "id:int4", schema="public", rules=True)
    database.relation("hashed", "id:int4 ssn short", schema="public", generated={"short": "left(ssn, 2)"})
    database.relation("pg_class", "", schema="pg_catalog")
    database.function("secret_fn", pure=False, schema="public")
    database.rows["cascades"] = [(str(customers), str(orders))]
    database.rows["reactions"] = [(str(customers), str(orders)), (str(orders), str(customers))]
    return database


CATALOGUE = shop().catalogue()


def found(text: str, session: SessionNames | None = None) -> Touched | None:
    return touched(Analyzer().statement(text), CATALOGUE, session or SessionNames())


def tables(text: str, session: SessionNames | None = None) -> list[str]:
    known = found(text, session)
    assert known is not None, text
    return [name.removeprefix("public.") for name in known.tables]


@pytest.mark.parametrize("text", [
    "select * from public.customers", 'select * from "public"."customers"', "select * from ONLY public.customers",
    "select 1 from public.v", "select 1 from w", "with x as (select 1 from w) select * from x",
    "select (select count(*) from v)", "table public.customers", "copy public.customers to stdout",
    "copy (select 1 from v) to stdout", "explain analyze select * from w", "declare c cursor for select * from v",
    "create table mine as select * from v", "insert into plain select i, s from v", "lock public.customers",
    "comment on column public.customers.ssn is ''", "grant select on public.customers to x", "drop table public.customers",
    "merge into plain p using public.customers c on p.id = c.id when matched then delete",
    "update plain set word = c.name from public.customers c", "prepare p as select * from w", "analyze public.customers",
    "select * from plain where exists (select from lateral (select from w) x)", "truncate public.customers",
    "select * from crm.public.customers", "select 1 from plain tablesample system (1), v",
])
def test_every_way_to_a_table_names_it(text: str) -> None:
    """Bare, quoted, through views, subqueries, CTEs, COPY, EXPLAIN, cursors and DML: the base table is there."""
    assert "customers" in tables(text)


def test_a_bare_name_is_every_relation_of_that_name() -> None:
    """The search path is the session's own to set."""
    assert tables("select * from customers") == ["archive.customers", "customers"]


def test_a_partition_is_its_parent_and_a_parent_its_partitions() -> None:
    """Rows of the one are rows of the other."""
    assert tables("select * from orders_old") == ["orders", "orders_old"]
    assert tables("select * from orders") == ["orders", "orders_old"]
    assert tables("select * from only orders") == ["orders"]


@pytest.mark.parametrize("text", [
    "select * from odd", "select * from nowhere", "do 'begin end'", "execute p", "fetch c", "move all c",
    "fetch c; declare c cursor for select 1", "fetch all c; select * from plain", "select public.secret_fn()",
    "select ssn(c) from public.customers c",
    "drop trigger x on customers; drop table plain", "comment on trigger x on customers is ''", "drop schema public cascade",
    "grant select on all tables in schema public to x", "alter schema public rename to private", "reindex schema public",
    "insert into ruled values (1)", "select * from pg_temp.x", "drop table if exists customers cascade; select * from x",
])
def test_what_cannot_be_told_is_no_list(text: str) -> None:
    """Unknown names, code of unknown effect and rewrite rules leave the fact out, and conditions fail closed."""
    assert found(text) is None


def test_only_what_changes_is_written() -> None:
    """The target and its partitions, what a view stands for and where foreign keys carry it, not what is read."""
    def written(text: str) -> list[str]:
        known = found(text)
        assert known is not None
        return [name.removeprefix("public.") for name in known.tables_written]

    assert written("insert into plain select id, ssn from public.customers") == ["plain"]
    assert written("delete from plain using public.customers c where c.id = plain.id") == ["plain"]
    assert written("update public.orders set note = ''") == ["orders", "orders_old"]
    assert written("delete from public.customers where id = 1") == ["customers", "orders", "orders_old"]
    assert written("insert into public.customers values (1)") == ["customers"]
    assert written("truncate orders") == ["customers", "orders", "orders_old"]
    assert written("update v set i = 1") == ["customers", "orders", "orders_old", "v"]
    assert written("copy plain from stdin") == ["plain"]
    assert written("copy plain to stdout") == []
    assert written("select * from v") == []
    assert written("create view plain as select 1") == ["plain"]
    assert written("create temp table customers (id int)") == []


@pytest.mark.parametrize("text", [
    "select ssn from public.customers", "select * from public.customers", "select c from public.customers c",
    "select (c).ssn from public.customers c", "select to_jsonb(customers) from customers",
    "select d from public.customers as x(a, b, d)", "select 1 from public.customers join hashed using (ssn)",
    "select 1 from public.customers natural join hashed", "select j from (public.customers a join plain b on true) j",
    "select id from public.customers where ssn like '1%'", "select id from public.customers order by ssn",
    "select s from v", "select 1 from w", "copy public.customers to stdout", "update public.customers set ssn = ''",
    "delete from public.customers where id = 1 returning old", "insert into public.customers values (1)",
    "insert into public.customers(id) values (1) on conflict (id) do update set name = excluded.ssn",
    "alter table public.customers add x int", "select x from (select public.customers from public.customers) x",
])
def test_every_way_to_a_column_names_it(text: str) -> None:
    """By name, star, whole row, alias lists, joins that name no column, views and what DML sets or returns."""
    known = found(text)
    assert known is not None
    assert "public.customers.ssn" in known.columns


def test_a_column_that_nothing_names_is_not_there() -> None:
    """An ordinary statement is not held for columns that it leaves alone."""
    known = found("select id, name from public.customers where id = 1")
    assert known is not None
    assert known.columns == ["public.customers.id", "public.customers.name"]


def test_a_generated_column_is_what_it_is_made_of() -> None:
    """Reading the derived value reads its source."""
    known = found("select short from hashed")
    assert known is not None
    assert known.columns == ["public.hashed.short", "public.hashed.ssn"]


def ran(*texts: str) -> SessionNames:
    session = SessionNames()
    for text in texts:
        session.create_all(Analyzer().statement(text))
    return session


def test_a_view_of_the_session_is_looked_through() -> None:
    """A temporary view that no catalogue shows, also one on another of them, and one not committed yet."""
    session = ran("create temp view mine as select ssn from public.customers", "create view deep as select * from mine")
    assert tables("select * from mine", session) == ["customers"]
    assert tables("select * from deep", session) == ["customers"]


def test_a_renamed_view_of_the_session_is_not_taken_for_the_table_of_that_name() -> None:
    """pg_temp comes first in every search path, so the new name may mean the view."""
    session = ran("create temp view mine as select ssn from public.customers", "alter view mine rename to plain")
    assert found("select * from plain", session) is None
    assert tables("select * from public.plain", session) == ["plain"]
    assert found("select * from elsewhere.mine", ran("create view mine as select 1", "alter view mine set schema elsewhere")) is None


def test_more_names_than_a_session_keeps_leave_nothing_known() -> None:
    """A name may mean one that was not kept."""
    session = ran(*(f"create temp table t{number} (a int)" for number in range(4_096)))
    assert tables("select * from plain", session) == ["plain"]
    session.create_all(Analyzer().statement("create temp view plain as select * from customers"))
    assert found("select * from public.plain", session) is None


def does(session: SessionNames, text: str, *, succeeds: bool = True) -> None:
    """What the protocol tells the session about a statement: before it goes on, and once it is carried out."""
    statement = Analyzer().statement(text)
    known = touched(statement, CATALOGUE, session)
    session.create_all(statement)
    session.run_code(statement)
    for name in statement.cursors_closed:
        session.cursors.close(name)
    if succeeds:
        session.succeeded(statement, Masked(text, False, "", frozenset()), None if known is None else known.reach)
    elif statement.transaction:
        session.cursors.failed(statement)


def test_a_fetch_touches_what_its_cursor_does() -> None:
    """Under its name; in one string, what was declared before it."""
    session = SessionNames()
    does(session, "declare c cursor with hold for select i from v")
    does(session, "declare p cursor for select * from plain")
    assert tables("fetch all c", session) == ["customers", "v"]
    assert tables("move 1 in c", session) == ["customers", "v"]
    assert tables("fetch p", session) == ["plain"]
    assert tables("close c", session) == []
    assert found("fetch other", session) is None
    does(session, "declare p cursor for select * from hashed", succeeds=False)      # one of that name is open
    assert tables("fetch p", session) == ["plain"]
    assert tables("declare d cursor for select * from plain; fetch d", session) == ["plain"]
    does(session, "close p")
    assert found("fetch p", session) is None


def test_a_cursor_keeps_what_its_view_was() -> None:
    """WITH HOLD has read its rows: what the view is made into afterwards is not what they come from."""
    session = SessionNames()
    does(session, "create temp view mine as select ssn from public.customers")
    does(session, "declare c cursor with hold for select * from mine")
    does(session, "drop view mine; create temp view mine as select 1")
    assert tables("fetch all c", session) == ["customers"]


def test_a_cursor_that_code_may_have_opened_is_not_told() -> None:
    """It may close any and open another under the same name; what the server opens afterwards is the session's again."""
    session = SessionNames()
    does(session, "declare c cursor for select * from plain")
    does(session, "select public.secret_fn()", succeeds=False)
    assert found("fetch c", session) is None
    does(session, "declare c cursor for select * from plain", succeeds=False)
    assert found("fetch c", session) is None
    does(session, "declare c cursor for select * from plain")
    assert tables("fetch c", session) == ["plain"]


@pytest.mark.parametrize(("steps", "is_known"), [
    ("begin | declare c cursor for select 1 | rollback", False), ("begin | declare c cursor for select 1 | commit", False),
    ("begin | declare c cursor with hold for select 1 | commit", True),
    ("begin | declare c cursor with hold for select 1 | commit and chain | rollback", True),
    ("begin | declare c cursor with hold for select 1 | rollback", False),
    ("begin | declare c cursor for select 1 | savepoint a | rollback to a", True),
    ("begin | savepoint a | declare c cursor for select 1 | rollback to a", False),
    ("begin | savepoint a | declare c cursor for select 1 | release a", True),
    ("begin | savepoint a | declare c cursor for select 1 | savepoint a | rollback to a", True),
    ("begin | savepoint a | declare c cursor for select 1 | savepoint a | release a | rollback to a", False),
    ("begin | savepoint a | declare c cursor for select 1 | savepoint b | release b | savepoint b | rollback to b", True),
    ("begin | declare c cursor for select 1 | rollback to a", False), ("begin; declare c cursor for select 1", True),
    ("begin; declare c cursor for select 1; rollback", False), ("begin; declare c cursor for select 1; close c", False),
    ("begin; declare c cursor with hold for select 1; commit", True), ("begin; declare c cursor for select 1; commit", False),
    ("begin | declare c cursor for select 1 | close all", False), ("begin | declare c cursor for select 1 | discard all", False),
    ("begin | declare c cursor for select 1 | !close c; select 1/0", False),
    ("begin | declare c cursor for select 1 | !rollback; begin; savepoint a; select 1/0", False),
    ("begin | declare c cursor for select 1 | !savepoint a", True), ("begin | declare c cursor for select 1 | !commit", False),
    ("begin | !declare c cursor for select 1; savepoint a; select 1/0", False),
    ("begin | declare c cursor for select 1 | prepare transaction 'x'", False),
])
def test_how_long_a_cursor_is_known(steps: str, is_known: bool) -> None:
    """As long as it certainly is the one that was judged: afterwards another may bear its name. `!` marks what fails."""
    session = SessionNames()
    for step in steps.split(" | "):
        does(session, step.removeprefix("!"), succeeds=not step.startswith("!"))
    assert ("c" in session.cursors) is is_known


def test_a_transaction_that_was_rolled_back_leaves_no_held_cursor() -> None:
    """A COMMIT of a failed block is a ROLLBACK; so is the end of a pipeline in which something failed."""
    for ends in (True, False):
        session = SessionNames()
        does(session, "declare c cursor with hold for select 1")
        commit = Analyzer().statement("commit")
        if ends:
            session.succeeded(commit, Masked("commit", False, "", frozenset()), rolls_back=True)
        else:
            session.cursors.ended(is_committed=False)
        assert "c" not in session.cursors


@pytest.mark.parametrize("text", [
    "fetch c; declare c cursor for select 1", "close c; update plain set id = 1; fetch c", "rollback; begin; fetch all c",
    "close all; fetch c", "declare d cursor for select 1; close d; fetch d", "discard all; fetch c", "rollback to a; fetch c",
])
def test_a_fetch_of_what_is_not_open_at_its_place(text: str) -> None:
    """The order in a string counts: what is closed before, or declared behind, is not what it fetches from."""
    session = SessionNames()
    does(session, "declare c cursor for select * from plain")
    if text.startswith("fetch"):
        assert tables(text, session) == ["plain"]
        does(session, "close c")
    assert found(text, session) is None


def test_a_stamp_changes_with_the_cursors() -> None:
    """What was worked out for a FETCH is not kept beyond the cursor, nor for another session."""
    session, fetch = SessionNames(), Analyzer().statement("fetch c")
    stamps = {session.stamp(fetch)}
    for text in ("declare c cursor for select 1", "close c", "declare c cursor for select * from plain", "select public.secret_fn()"):
        does(session, text)
        stamps.add(session.stamp(fetch))
    assert len(stamps) == 5
    ordinary = SessionNames()
    does(ordinary, "declare c cursor for select * from plain")
    assert ordinary.stamp(Analyzer().statement("select * from plain")) == SessionNames().stamp(fetch)


def test_cursors_are_bounded() -> None:
    """What is not kept is not known."""
    session = SessionNames()
    does(session, "declare c cursor for select * from plain")
    assert all(session.cursors.opened(f"c{number}") for number in range(16_383))
    assert not session.cursors.opened("d")
    assert tables("fetch c", session) == ["plain"]
    assert found("fetch d", session) is None


def test_execute_touches_what_was_prepared() -> None:
    """In the string, or in the session: whatever the name may stand for. Of what nobody knows, nothing is told."""
    session = SessionNames()

    def told(text: str) -> list[str] | None:
        known = touched(Analyzer().in_session(Analyzer().statement(text), session, CATALOGUE), CATALOGUE, session)
        return None if known is None else [name.removeprefix("public.") for name in known.tables]

    assert told("execute p") is None
    does(session, "prepare p as select * from v")
    assert found("execute p", session) is None
    assert told("execute p") == ["customers", "v"]
    does(session, "prepare p as delete from plain", succeeds=False)
    session.prepare("p", Analyzer().statement("delete from plain"))
    assert told("execute p") == ["customers", "plain", "v"]
    assert told("create table n as execute p") == ["customers", "plain", "v"]
    assert told("explain analyze execute p") == ["customers", "plain", "v"]
    does(session, "select public.secret_fn()")
    assert told("execute p") is None
    assert tables("prepare q as select * from v; execute q") == ["customers", "v"]


@pytest.mark.parametrize("text", [
    "alter table public.customers inherit other.par", "alter table other.par attach partition public.customers default",
    "alter table only public.customers add x int, inherit par",
])
def test_a_parent_of_the_session_is_not_told(text: str) -> None:
    """Rows of a table that was there before are now the parent's, until a catalogue shows it."""
    session = ran("create table other.par (id int)", text)
    assert found("select * from other.par", session) is None
    assert tables("select * from plain", session) == ["plain"]
    session.confirm(CATALOGUE)
    assert tables("select * from other.par", session) == []


def test_a_parent_that_was_there_before_is_not_told_either() -> None:
    """By name, by a view of it, by its own parent, and by the parent of a relation that the session made."""
    session = ran("alter table public.customers inherit public.plain")
    assert found("select * from plain", session) is None
    assert found("select * from public.plain", session) is None
    assert found("delete from plain", session) is None
    assert session.stamp(Analyzer().statement("select * from plain")) != SessionNames().stamp(Analyzer().statement("select 1"))
    assert found("select * from orders", ran("alter table customers inherit orders_old")) is None
    assert found("select * from w", ran("alter table hashed inherit customers")) is None
    assert found("select * from plain", ran("create table mid () inherits (plain)")) is not None
    assert found("select * from plain", ran("create table mid () inherits (plain)", "alter table customers inherit mid")) is None

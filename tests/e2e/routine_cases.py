"""A database with functions of every kind, and what the analysis has to say of each.

Apart from the tests that run them, because it is data: a definition, a statement that calls it, the verdict
under a mask on `*.ssn`, and the verbs that a policy sees (None where the call stays opaque).
"""

from __future__ import annotations

from typing import NamedTuple

SETUP = """
CREATE SCHEMA p; CREATE SCHEMA q; SET search_path = p;
CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text, balance numeric DEFAULT 0, updated_at timestamptz);
INSERT INTO customers VALUES (1, 'ann', '219-09-9999', 10), (2, 'bob', '219-09-9998', 20), (3, 'cid', '219-09-9997', 30);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total numeric, note text);
INSERT INTO orders VALUES (1, 1, 5, 'a'), (2, 2, 7, 'b'), (3, 1, 9, 'c');
CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY, what text);
CREATE VIEW people AS SELECT id, name, ssn AS number FROM customers;
CREATE VIEW names AS SELECT id, name FROM customers;
CREATE VIEW loud AS SELECT id, name FROM customers WHERE ssn LIKE '219%';
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE TYPE pair AS (a int, b text);
"""

PLAIN = frozenset({"select"})
ADMITTED, SHOWS, OPAQUE = "admitted", "shows", "opaque"


class Case(NamedTuple):
    """One routine: what makes it, a statement that runs it, its verdict and the verbs of that statement."""

    name: str
    sql: str
    call: str
    verdict: str = ADMITTED
    verbs: frozenset[str] | None = PLAIN


def _verbs(*names: str) -> frozenset[str]:
    return frozenset(names)


def _function(name: str, arguments: str, returns: str, body: str, language: str = "plpgsql", more: str = "") -> str:
    return f"CREATE FUNCTION {name}({arguments}) RETURNS {returns} LANGUAGE {language} {more} AS $x$ {body} $x$;"


def _block(name: str, arguments: str, returns: str, declare: str, body: str, more: str = "") -> str:
    return _function(name, arguments, returns, f"DECLARE {declare} BEGIN {body} END" if declare else f"BEGIN {body} END",
                     more=more)


CASES: tuple[Case, ...] = (
    # ---------------------------------------------------------------- SQL bodies
    Case("sql_plus", _function("sql_plus", "a int", "int", "SELECT $1 + 1", "sql", "IMMUTABLE"), "SELECT sql_plus(1)"),
    Case("sql_named", _function("sql_named", "a int, b int DEFAULT 2", "int", "SELECT a * b", "sql"), "SELECT sql_named(3)"),
    Case("sql_orders", _function("sql_orders", "who int", "SETOF orders", "SELECT * FROM orders WHERE customer = who", "sql",
                                 "STABLE"), "SELECT id, note FROM sql_orders(1) ORDER BY 1"),
    Case("sql_names", _function("sql_names", "who int", "text", "SELECT name FROM customers WHERE id = who", "sql"),
         "SELECT sql_names(2)"),
    Case("sql_count", _function("sql_count", "", "bigint", "SELECT count(*) FROM customers", "sql"), "SELECT sql_count()"),
    Case("sql_ssn", _function("sql_ssn", "who int", "text", "SELECT ssn FROM customers WHERE id = who", "sql"),
         "SELECT sql_ssn(1)", SHOWS),
    Case("sql_star", _function("sql_star", "", "SETOF customers", "SELECT * FROM customers", "sql"), "SELECT id FROM sql_star()",
         SHOWS),
    Case("sql_row", _function("sql_row", "", "text", "SELECT c::text FROM customers c WHERE id = 1", "sql"), "SELECT sql_row()",
         SHOWS),
    Case("sql_where", _function("sql_where", "x text", "bigint", "SELECT count(*) FROM customers WHERE ssn LIKE x", "sql"),
         "SELECT sql_where('219%')", SHOWS),
    Case("sql_order", _function("sql_order", "", "text", "SELECT name FROM customers ORDER BY ssn LIMIT 1", "sql"),
         "SELECT sql_order()", SHOWS),
    Case("sql_using", _function("sql_using", "", "bigint", "SELECT count(*) FROM customers a JOIN customers b USING (ssn)", "sql"),
         "SELECT sql_using()", SHOWS),
    Case("sql_natural", _function("sql_natural", "", "bigint", "SELECT count(*) FROM customers NATURAL JOIN people", "sql"),
         "SELECT sql_natural()", SHOWS),
    Case("sql_renamed", _function("sql_renamed", "", "text", "SELECT x FROM customers AS c(i, n, x) WHERE i = 1", "sql"),
         "SELECT sql_renamed()", SHOWS),
    Case("sql_joined", _function("sql_joined", "", "text", "SELECT j::text FROM (customers c JOIN orders o ON o.customer = c.id) AS j"
                                 " LIMIT 1", "sql"), "SELECT sql_joined()", SHOWS),
    Case("sql_like_column", _function("sql_like_column", "", "json", "SELECT c.row_to_json FROM customers c WHERE id = 1", "sql"),
         "SELECT sql_like_column()", SHOWS),
    Case("sql_view", _function("sql_view", "", "text", "SELECT number FROM people LIMIT 1", "sql"), "SELECT sql_view()", SHOWS),
    Case("sql_open_view", _function("sql_open_view", "", "text", "SELECT name FROM names WHERE id = 3", "sql"),
         "SELECT sql_open_view()"),
    Case("sql_loud_view", _function("sql_loud_view", "", "bigint", "SELECT count(*) FROM loud", "sql"), "SELECT sql_loud_view()",
         SHOWS),
    Case("sql_stats", _function("sql_stats", "", "text", "SELECT most_common_vals::text FROM pg_stats LIMIT 1", "sql"),
         "SELECT sql_stats()", SHOWS),
    Case("sql_row_type", _function("sql_row_type", "c customers", "text", "SELECT c.name || c.ssn", "sql"),
         "SELECT sql_row_type(c) FROM customers c ORDER BY id"),
    Case("sql_computed", _function("computed", "customers", "text", "SELECT $1.name || $1.ssn", "sql"),
         "SELECT c.computed FROM customers c ORDER BY id"),
    Case("sql_calls_computed", _function("calls_computed", "", "text", "SELECT c.computed FROM customers c WHERE id = 1", "sql"),
         "SELECT calls_computed()", SHOWS),
    Case("sql_writes", _function("sql_writes", "x text", "void", "INSERT INTO log (what) VALUES (x)", "sql"),
         "SELECT sql_writes('hello')", verbs=_verbs("select", "insert")),
    Case("sql_deletes", _function("sql_deletes", "x text", "bigint", "DELETE FROM log WHERE what = x; SELECT count(*) FROM log", "sql"),
         "SELECT sql_deletes('hello')", verbs=_verbs("select", "delete")),
    Case("sql_atomic", "CREATE FUNCTION sql_atomic(x int) RETURNS bigint LANGUAGE sql BEGIN ATOMIC UPDATE orders SET note = 'z'"
         " WHERE id = x; SELECT count(*) FROM orders; END;", "SELECT sql_atomic(1)", verbs=_verbs("select", "update")),
    Case("sql_return", "CREATE FUNCTION sql_return(x int) RETURNS int LANGUAGE sql RETURN sql_plus(x) * 2;", "SELECT sql_return(2)"),
    Case("sql_atomic_ssn", "CREATE FUNCTION sql_atomic_ssn() RETURNS text LANGUAGE sql RETURN (SELECT max(ssn) FROM customers);",
         "SELECT sql_atomic_ssn()", SHOWS),
    Case("sql_temp", _function("sql_temp", "", "void", "CREATE TEMP TABLE mine AS SELECT id, name FROM customers", "sql"),
         "SELECT sql_temp()", verbs=_verbs("select", "create")),
    Case("sql_ddl", _function("sql_ddl", "", "void", "ALTER TABLE customers ADD COLUMN x int", "sql"), "SELECT sql_ddl()", SHOWS,
         _verbs("select", "alter")),
    # ---------------------------------------------------------------- PL/pgSQL
    Case("pl_assign", _block("pl_assign", "a int", "text", "v text := 'x' || a;", "v := v || (SELECT note FROM orders WHERE id = a);"
                             " RETURN v;"), "SELECT pl_assign(2)"),
    Case("pl_into", _block("pl_into", "a int", "text", "r record; n text;", "SELECT id, name INTO r FROM customers WHERE id = a;"
                           " SELECT note INTO STRICT n FROM orders WHERE id = a; RETURN r.name || n;"), "SELECT pl_into(1)"),
    Case("pl_rowtype", _block("pl_rowtype", "a int", "text", "o orders%ROWTYPE; t pair; m mood := 'calm'; w orders.note%TYPE;",
                              "SELECT * INTO o FROM orders WHERE id = a; o.note := upper(o.note); t.a := 1; t.b = o.note; w := t.b;"
                              " RETURN w || t.a || m;"), "SELECT pl_rowtype(3)"),
    Case("pl_loops", _block("pl_loops", "", "text", "r record; out text := ''; i int := 0; a int[] := ARRAY[1,2,3]; e int;",
                            "<<outer>> FOR r IN SELECT id, note FROM orders ORDER BY id LOOP out := out || r.note; CONTINUE outer WHEN"
                            " r.id = 2; END LOOP; WHILE i < 3 LOOP i := i + 1; EXIT WHEN i = 2; END LOOP; FOR j IN REVERSE 3..1 LOOP"
                            " out := out || j; END LOOP; FOREACH e IN ARRAY a LOOP out := out || e; END LOOP; a[2] := 5; LOOP EXIT;"
                            " END LOOP; CASE i WHEN 1, 2 THEN out := out || 'c'; ELSE out := 'd'; END CASE; RETURN out;"),
         "SELECT pl_loops()"),
    Case("pl_cursor", _block("pl_cursor", "", "text", "c CURSOR (k int) FOR SELECT note FROM orders WHERE id > k ORDER BY id; n text;"
                             " x refcursor; out text := '';",
                             "OPEN c(1); FETCH c INTO n; MOVE c; CLOSE c; OPEN x FOR SELECT id FROM orders; CLOSE x; FOR r IN c(k := 0)"
                             " LOOP out := out || r.note; END LOOP; RETURN n || out;"), "SELECT pl_cursor()"),
    Case("pl_returns", "CREATE FUNCTION pl_returns(a int) RETURNS TABLE (i int, t text) LANGUAGE plpgsql AS $x$ BEGIN RETURN QUERY SELECT"
         " o.id, o.note FROM orders o WHERE o.id >= a; i := 9; t := 'last'; RETURN NEXT; RETURN; END $x$;",
         "SELECT * FROM pl_returns(2)"),
    Case("pl_catches", _block("pl_catches", "a text", "text", "d text;", "RETURN (a::int)::text; EXCEPTION WHEN invalid_text_representation"
                              " OR SQLSTATE '22003' THEN GET STACKED DIAGNOSTICS d = MESSAGE_TEXT; RETURN d || SQLERRM;"),
         "SELECT pl_catches('x')"),
    Case("pl_diagnostics", _block("pl_diagnostics", "", "bigint", "n bigint;", "UPDATE orders SET note = note || '!' WHERE id = 1;"
                                  " GET DIAGNOSTICS n = ROW_COUNT; ASSERT n = 1, 'one'; RETURN n;"), "SELECT pl_diagnostics()",
         verbs=_verbs("select", "update")),
    Case("pl_constant", _block("pl_constant", "a int", "text", "t text;", "EXECUTE 'SELECT note FROM p.orders WHERE id = $1' INTO t USING a;"
                               " RETURN t;"), "SELECT pl_constant(1)"),
    Case("pl_notice", _block("pl_notice", "a text", "void", "", "RAISE NOTICE 'got %', a USING HINT = 'h';"), "SELECT pl_notice('x')"),
    Case("pl_updates", _block("pl_updates", "who int, what text", "void", "", "UPDATE customers SET name = what WHERE id = who;"),
         "SELECT pl_updates(1, 'zed')", verbs=_verbs("select", "update")),
    Case("pl_sets_ssn", _block("pl_sets_ssn", "who int, what text", "void", "", "UPDATE customers SET ssn = what WHERE id = who;"),
         "SELECT pl_sets_ssn(1, '1')", verbs=_verbs("select", "update")),
    Case("pl_variadic", _block("pl_variadic", "VARIADIC a int[]", "int", "s int := 0; e int;",
                               "FOREACH e IN ARRAY a LOOP s := s + e; END LOOP; RETURN s;"), "SELECT pl_variadic(1, 2, 3)"),
    Case("pl_any", _block("pl_any", "a anyelement", "anyelement", "", "RETURN a;"), "SELECT pl_any('x'::text), pl_any(1)"),
    Case("pl_out", _block("pl_out", "INOUT a int, OUT b mood, OUT c text", "record", "", "SELECT 'cross'::mood, 'x' INTO b, c; a := a + 1;"),
         "SELECT * FROM pl_out(4)"),
    Case("pl_definer", _block("pl_definer", "", "text", "", "RETURN (SELECT max(name) FROM customers);",
                              "SECURITY DEFINER SET search_path = q, p"), "SELECT pl_definer()"),
    Case("pl_recursive", _block("pl_recursive", "n int", "int", "", "IF n <= 1 THEN RETURN 1; ELSIF n > 20 THEN RETURN 0; END IF;"
                                " RETURN n * pl_recursive(n - 1);"), "SELECT pl_recursive(5)"),
    Case("pl_defaults", _block("pl_defaults", "a text DEFAULT sql_ssn(1)", "int", "", "RETURN 1;"), "SELECT pl_defaults()", SHOWS),
    Case("pl_into_ssn", _block("pl_into_ssn", "", "text", "r text;", "SELECT ssn INTO r FROM customers WHERE id = 1; RETURN r;"),
         "SELECT pl_into_ssn()", SHOWS),
    Case("pl_loop_ssn", _block("pl_loop_ssn", "", "void", "r record;", "FOR r IN SELECT * FROM p.customers LOOP RAISE NOTICE '%', r.ssn;"
                               " END LOOP;"), "SELECT pl_loop_ssn()", SHOWS),
    Case("pl_elsif_ssn", _block("pl_elsif_ssn", "a int", "int", "", "IF a = 0 THEN NULL; ELSIF (SELECT ssn FROM customers WHERE id = a) < '3'"
                                " THEN RETURN 1; END IF; RETURN 2;"), "SELECT pl_elsif_ssn(1)", SHOWS),
    Case("pl_query_ssn", "CREATE FUNCTION pl_query_ssn() RETURNS SETOF text LANGUAGE plpgsql AS $x$ BEGIN RETURN QUERY SELECT c.ssn FROM"
         " customers c; END $x$;", "SELECT pl_query_ssn()", SHOWS),
    Case("pl_cursor_ssn", _block("pl_cursor_ssn", "", "text", "c CURSOR FOR SELECT ssn FROM customers; n text;",
                                 "OPEN c; FETCH c INTO n; RETURN n;"), "SELECT pl_cursor_ssn()", SHOWS),
    Case("pl_calls_view", _block("pl_calls_view", "", "text", "", "RETURN sql_view();"), "SELECT pl_calls_view()", SHOWS),
    Case("pl_handler_ssn", _block("pl_handler_ssn", "", "int", "", "RETURN 1 / 0; EXCEPTION WHEN OTHERS THEN RETURN (SELECT"
                                  " substr(ssn, 1, 1)::int FROM customers LIMIT 1);"), "SELECT pl_handler_ssn()", SHOWS),
    Case("pl_catches_row", _block("pl_catches_row", "", "text", "d text;", "INSERT INTO customers (id, name) VALUES (1, 'x'); RETURN 'ok';"
                                  " EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL; RETURN d;"),
         "SELECT pl_catches_row()", SHOWS, _verbs("select", "insert")),
    Case("pl_conflict", _block("pl_conflict", "x text", "int", "n int;", "INSERT INTO customers (id, ssn) VALUES (9, x) ON CONFLICT (ssn) DO"
                               " NOTHING; GET DIAGNOSTICS n = ROW_COUNT; RETURN n;"), "SELECT pl_conflict('x')", SHOWS,
         _verbs("select", "insert")),
    Case("pl_returning", _block("pl_returning", "", "text", "r customers;", "UPDATE customers SET name = name WHERE id = 1 RETURNING * INTO r;"
                                " RETURN r.ssn;"), "SELECT pl_returning()", SHOWS, _verbs("select", "update")),
    Case("pl_truncates", _block("pl_truncates", "", "void", "", "TRUNCATE log;"), "SELECT pl_truncates()",
         verbs=_verbs("select", "truncate")),
    Case("pl_perform", _block("pl_perform", "", "void", "", "PERFORM sql_deletes('a'), pl_truncates();"), "SELECT pl_perform()",
         verbs=_verbs("select", "delete", "truncate")),
    # ---------------------------------------------------------------- what stays opaque
    Case("dyn_text", _block("dyn_text", "s text", "text", "r text;", "EXECUTE s INTO r; RETURN r;"),
         "SELECT dyn_text('SELECT ssn FROM p.customers')", OPAQUE, None),
    Case("dyn_format", _block("dyn_format", "t text", "bigint", "r bigint;", "EXECUTE format('SELECT count(*) FROM p.%I', t) INTO r; RETURN r;"),
         "SELECT dyn_format('orders')", OPAQUE, None),
    Case("dyn_for", _block("dyn_for", "s text", "void", "r record;", "FOR r IN EXECUTE s LOOP RAISE NOTICE '%', r; END LOOP;"),
         "SELECT dyn_for('SELECT 1')", OPAQUE, None),
    Case("dyn_query", "CREATE FUNCTION dyn_query(s text) RETURNS SETOF text LANGUAGE plpgsql AS $x$ BEGIN RETURN QUERY EXECUTE s; END $x$;",
         "SELECT dyn_query('SELECT 1::text')", OPAQUE, None),
    Case("dyn_open", _block("dyn_open", "s text", "void", "c refcursor;", "OPEN c FOR EXECUTE s; CLOSE c;"), "SELECT dyn_open('SELECT 1')",
         OPAQUE, None),
    Case("calls_dyn", _block("calls_dyn", "", "text", "", "RETURN dyn_text('SELECT 1');"), "SELECT calls_dyn()", OPAQUE, None),
    Case("record_default", _block("record_default", "", "text", "r record := ROW(sql_plus(1));", "RETURN r::text;"), "SELECT record_default()",
         OPAQUE, None),
    Case("defines", _block("defines", "", "void", "", "CREATE OR REPLACE FUNCTION p.made() RETURNS int LANGUAGE sql AS 'SELECT 1';"),
         "SELECT defines()", OPAQUE, None),
    Case("sets_role", _block("sets_role", "", "void", "", "SET ROLE postgres;"), "SELECT sets_role()", OPAQUE, None),
    Case("xml_query", _function("xml_query", "s text", "xml", "SELECT query_to_xml(s, true, true, '')", "sql"),
         "SELECT xml_query('SELECT * FROM p.customers')", OPAQUE, None),
    # ---------------------------------------------------------------- procedures and blocks
    Case("proc_log", "CREATE PROCEDURE proc_log(x text, INOUT n int DEFAULT 0) LANGUAGE plpgsql AS $x$ BEGIN INSERT INTO log (what) VALUES (x);"
         " COMMIT; n := n + 1; DELETE FROM log WHERE what = 'none'; END $x$;", "CALL proc_log('x')",
         verbs=_verbs("call", "insert", "commit", "delete")),
    Case("proc_ssn", "CREATE PROCEDURE proc_ssn(INOUT x text) LANGUAGE plpgsql AS $x$ BEGIN SELECT max(ssn) INTO x FROM customers; END $x$;",
         "CALL proc_ssn('')", SHOWS, _verbs("call", "select")),
    Case("do_plain", "", "DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM p.orders LOOP UPDATE p.orders SET note = 'q' WHERE id = r.id;"
         " END LOOP; END $$", verbs=_verbs("do", "select", "update")),
    Case("do_ssn", "", "DO $$ DECLARE r text; BEGIN SELECT ssn INTO r FROM p.customers; RAISE NOTICE '%', r; END $$", SHOWS,
         _verbs("do", "select")),
    Case("do_dynamic", "", "DO $$ BEGIN EXECUTE 'DROP ' || 'TABLE p.log'; END $$", OPAQUE, None),
    Case("do_drop", "", "DO $$ BEGIN DROP TABLE IF EXISTS p.nowhere; END $$", verbs=_verbs("do", "drop")),
    # ---------------------------------------------------------------- aggregates, operators, casts, domains
    Case("agg_clean", _function("agg_step", "s int, x int", "int", "SELECT s + x", "sql") + "CREATE AGGREGATE agg_clean(int) (sfunc = agg_step,"
         " stype = int, initcond = '0');", "SELECT agg_clean(id) FROM orders"),
    Case("agg_shows", _function("agg_peek", "s text, x int", "text", "SELECT s || ssn FROM customers WHERE id = x", "sql")
         + "CREATE AGGREGATE agg_shows(int) (sfunc = agg_peek, stype = text, initcond = '');", "SELECT agg_shows(id) FROM orders", SHOWS),
    Case("op_clean", _function("op_clean", "a int, b int", "int", "SELECT a * 10 + b", "sql") + "CREATE OPERATOR @+@ (leftarg = int, rightarg ="
         " int, function = op_clean);", "SELECT 1 @+@ 2"),
    Case("op_shows", _function("op_shows", "a int, b int", "text", "SELECT max(ssn) FROM customers WHERE id = a", "sql")
         + "CREATE OPERATOR === (leftarg = int, rightarg = int, function = op_shows);", "SELECT 1 === 2", SHOWS),
    Case("cast_clean", "CREATE TYPE metres AS (n int);" + _function("to_metres", "int", "metres", "SELECT ROW($1)::metres", "sql")
         + "CREATE CAST (int AS metres) WITH FUNCTION to_metres(int);", "SELECT (5::metres).n"),
    Case("cast_shows", "CREATE TYPE peek AS (n text);" + _function("to_peek", "int", "peek", "SELECT ROW(ssn)::peek FROM customers WHERE id ="
                                                                   " $1", "sql")
         + "CREATE CAST (int AS peek) WITH FUNCTION to_peek(int);", "SELECT 1::peek", SHOWS),
    Case("domain_clean", _function("is_short", "text", "boolean", "SELECT length($1) < 9", "sql") + "CREATE DOMAIN short AS text CHECK"
         " (is_short(VALUE));", "SELECT 'abc'::short"),
    Case("domain_shows", _function("is_known", "text", "boolean", "SELECT EXISTS (SELECT FROM customers WHERE ssn = $1)", "sql")
         + "CREATE DOMAIN known AS text CHECK (is_known(VALUE));", "SELECT '219-09-9999'::known", SHOWS),
    Case("shadows", _function("lower", "int", "text", "SELECT max(ssn) FROM customers WHERE id = $1", "sql"), "SELECT p.lower(1)", SHOWS),
    Case("overload", _function("twice", "a int", "int", "SELECT a * 2", "sql") + _function("twice", "a int, b int", "text", "SELECT ssn FROM"
                                                                                        " customers", "sql"), "SELECT twice(4)"),
    Case("overload_shows", "", "SELECT twice(4, 5)", SHOWS),
)


class Trigger(NamedTuple):
    """A trigger, statements that fire it and then read what it stored; `open` is a text that must still be readable
    in the last result. `is_refused`: changes of the relation are, because no label can follow."""

    name: str
    sql: str
    statements: tuple[str, ...]
    open: str = ""
    is_refused: bool = False


_CHANGE = "UPDATE customers SET name = 'new' WHERE id = 1"


def _fires(name: str, body: str, when: str = "AFTER UPDATE", declare: str = "", table: str = "customers", clause: str = "") -> str:
    return (f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $x$ DECLARE {declare} BEGIN {body} END $x$;"
            f"CREATE TRIGGER {name} {when} ON {table} FOR EACH ROW {clause} EXECUTE FUNCTION {name}();")


TRIGGERS: tuple[Trigger, ...] = (
    Trigger("touch", _fires("touch", "NEW.updated_at := now(); RETURN NEW;", "BEFORE UPDATE"), (_CHANGE, "SELECT name FROM customers"),
            "new"),
    Trigger("audit", "CREATE TABLE audit (id int, old_ssn text, who text);"
            + _fires("audit", "INSERT INTO audit (id, old_ssn, who) VALUES (OLD.id, OLD.ssn, OLD.name); RETURN NULL;"),
            (_CHANGE, "SELECT * FROM audit"), "ann"),
    Trigger("positions", "CREATE TABLE audit (op text, id int, name text, ssn2 text, balance numeric, updated_at timestamptz);"
            + _fires("positions", "INSERT INTO audit SELECT TG_OP, OLD.*; RETURN NULL;"), (_CHANGE, "SELECT * FROM audit"), "UPDATE"),
    Trigger("row", "CREATE TABLE audit (what text, old jsonb);"
            + _fires("row_", "INSERT INTO audit VALUES ('row', to_jsonb(OLD)); RETURN NULL;"), (_CHANGE, "SELECT * FROM audit"), "row"),
    Trigger("variables", "CREATE TABLE audit (a text, b text, c text);"
            + _fires("variables", "v := NEW.ssn; w := v || 'x'; INSERT INTO audit (c, a, b) VALUES (n, w, 'plain'); RETURN NEW;",
                     declare="v text; w text; n text := 'open';"), (_CHANGE, "SELECT * FROM audit"), "open"),
    Trigger("branches", "CREATE TABLE audit (a text, b text);"
            + _fires("branches", "IF OLD.ssn LIKE '219%' THEN INSERT INTO audit (a) VALUES ('yes'); ELSE INSERT INTO audit (a) VALUES ('no');"
                     " END IF; RETURN NULL;"), (_CHANGE, "SELECT * FROM audit")),
    Trigger("changed", "CREATE TABLE audit (id int, at text);"
            + _fires("changed", "INSERT INTO audit (id, at) VALUES (NEW.id, 'seen'); RETURN NULL;", clause="WHEN (OLD.* IS DISTINCT FROM NEW.*)"),
            (_CHANGE, "SELECT * FROM audit"), "seen"),
    Trigger("updates", "CREATE TABLE seen (id int, tail text, n int DEFAULT 0); INSERT INTO seen VALUES (1, '', 0);"
            + _fires("updates", "UPDATE seen SET tail = right(NEW.ssn, 4), n = n + 1 WHERE id = NEW.id; RETURN NULL;"),
            (_CHANGE, "SELECT n, tail FROM seen"), "1"),
    Trigger("conflict", "CREATE TABLE seen (id int PRIMARY KEY, last text, n int);"
            + _fires("conflict", "INSERT INTO seen VALUES (NEW.id, NEW.ssn, 1) ON CONFLICT (id) DO UPDATE SET last = excluded.last, n = 2;"
                     " RETURN NULL;"), (_CHANGE, _CHANGE, "SELECT id, last FROM seen")),
    Trigger("own_column", "ALTER TABLE customers ADD search text;"
            + _fires("own_column", "NEW.search := lower(NEW.name || NEW.ssn); RETURN NEW;", "BEFORE INSERT OR UPDATE"),
            (_CHANGE, "SELECT name, search FROM customers ORDER BY id"), "new"),
    Trigger("tsvector", "ALTER TABLE customers ADD words tsvector; CREATE TRIGGER words BEFORE INSERT OR UPDATE ON customers FOR EACH ROW"
            " EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', name, ssn);",
            (_CHANGE, "SELECT id, words FROM customers ORDER BY id")),
    Trigger("calls", "CREATE TABLE audit (a text, b text); CREATE FUNCTION note(x text, y text) RETURNS void LANGUAGE sql AS $x$ INSERT INTO"
            " audit VALUES (x, y) $x$;" + _fires("calls", "PERFORM note(OLD.ssn, 'y'); RETURN NULL;"), (_CHANGE, "SELECT * FROM audit")),
    Trigger("chain", "CREATE TABLE audit (x text); CREATE TABLE copies (y text);"
            + _fires("chain", "INSERT INTO audit VALUES (OLD.ssn); RETURN NULL;")
            + _fires("chain2", "INSERT INTO copies SELECT NEW.x; RETURN NULL;", "AFTER INSERT", table="audit"),
            (_CHANGE, "SELECT * FROM copies")),
    Trigger("elsewhere", "CREATE TABLE audit (note text, ssn_of text);"
            + _fires("elsewhere", "SELECT ssn INTO v FROM customers WHERE id = NEW.customer; INSERT INTO audit VALUES (NEW.note, v); RETURN NEW;",
                     declare="v text;", table="orders"), ("UPDATE orders SET note = 'hey' WHERE id = 1", "SELECT * FROM audit"), "hey"),
    Trigger("insert_row", _fires("insert_row", "NEW.note := (SELECT ssn FROM customers WHERE id = NEW.customer); RETURN NEW;", "BEFORE INSERT",
                                 table="orders"),
            ("INSERT INTO orders VALUES (9, 1, 1, 'x')", "INSERT INTO orders (id, customer) VALUES (10, 1) RETURNING id",
             "SELECT id, note FROM orders ORDER BY id")),
    Trigger("handler", "CREATE TABLE audit (x text);"
            + _fires("handler", "BEGIN PERFORM OLD.ssn::int; EXCEPTION WHEN OTHERS THEN INSERT INTO audit VALUES (SQLERRM); END; RETURN NULL;"),
            (_CHANGE, "SELECT * FROM audit")),
    Trigger("loop", "CREATE TABLE audit (x text);"
            + _fires("loop_", "FOR r IN SELECT c.ssn AS s FROM customers c LOOP INSERT INTO audit VALUES (r.s); END LOOP; RETURN NULL;",
                     declare="r record;", table="orders"), ("UPDATE orders SET note = 'b' WHERE id = 1", "SELECT * FROM audit")),
    Trigger("view", "CREATE TABLE base (x text, y text); CREATE VIEW front AS SELECT x, y FROM base;"
            + _fires("through", "INSERT INTO front (x, y) VALUES (OLD.ssn, 'y'); RETURN NULL;"), (_CHANGE, "SELECT * FROM base"), "y"),
    Trigger("instead", "CREATE TABLE audit (x text, y text);"
            + _fires("instead", "INSERT INTO audit VALUES (OLD.number, OLD.name); RETURN NEW;", "INSTEAD OF UPDATE", table="people"),
            ("UPDATE people SET name = 'k' WHERE id = 1", "SELECT * FROM audit"), "ann"),
    Trigger("says", _fires("says", "RAISE NOTICE 'was %', OLD.ssn; RETURN NULL;"), (_CHANGE, "SELECT name FROM customers ORDER BY id"), "new"),
    Trigger("fails", _fires("fails", "RAISE EXCEPTION 'was %', OLD.ssn; RETURN NULL;"), (_CHANGE, "SELECT name FROM customers ORDER BY id"),
            "ann"),
    Trigger("statement_rows", "CREATE TABLE audit (id int, old text); CREATE FUNCTION rows_of() RETURNS trigger LANGUAGE plpgsql AS $x$ BEGIN"
            " INSERT INTO audit SELECT id, ssn FROM ot; INSERT INTO audit SELECT n.id, to_jsonb(n)->>'ssn' FROM nt n; RETURN NULL; END $x$;"
            " CREATE TRIGGER rows_of AFTER UPDATE ON customers REFERENCING OLD TABLE AS ot NEW TABLE AS nt FOR EACH STATEMENT"
            " EXECUTE FUNCTION rows_of();", (_CHANGE, "SELECT * FROM audit"), "1"),
    Trigger("inout", "CREATE TABLE audit (a text, b text); CREATE PROCEDURE pr(a text, INOUT b text) LANGUAGE plpgsql AS $x$ BEGIN b := a; END $x$;"
            + _fires("inout_", "CALL p.pr(OLD.ssn, v); INSERT INTO audit VALUES (v, OLD.name); RETURN NULL;", declare="v text;"),
            (_CHANGE, "SELECT * FROM audit"), "ann"),
    Trigger("found", "CREATE TABLE audit (a text, b text);"
            + _fires("found_", "PERFORM 1 FROM orders WHERE OLD.ssn LIKE '219%'; INSERT INTO audit VALUES (FOUND, OLD.name); RETURN NULL;"),
            (_CHANGE, "SELECT * FROM audit"), "ann"),
    Trigger("onwards", "CREATE TABLE audit (a text, b text); CREATE VIEW front AS SELECT 'x'::text AS x, 'y'::text AS y;"
            + _fires("onwards", "INSERT INTO audit VALUES (NEW.x, NEW.y); RETURN NEW;", "INSTEAD OF INSERT", table="front")
            + _fires("onwards2", "INSERT INTO front VALUES (OLD.ssn, OLD.name); RETURN NULL;"), (_CHANGE, "SELECT * FROM audit"), "ann"),
    Trigger("disabled", "CREATE TABLE audit (id int, old text);"
            + _fires("disabled", "INSERT INTO audit VALUES (OLD.id, OLD.ssn); RETURN NULL;")
            + "UPDATE customers SET id = id; ALTER TABLE customers DISABLE TRIGGER disabled;", (_CHANGE, "SELECT * FROM audit"), "1"),
    Trigger("domain", "CREATE FUNCTION peek() RETURNS text LANGUAGE sql AS $x$ SELECT max(ssn) FROM p.customers $x$;"
            " CREATE DOMAIN d AS text DEFAULT peek(); CREATE TABLE filled (id int, x d);",
            ("INSERT INTO filled (id) VALUES (1) RETURNING x", "SELECT * FROM filled"), "1"),
    Trigger("references", "ALTER TABLE customers ADD UNIQUE (ssn); CREATE TABLE kin (id int, x text REFERENCES customers (ssn) ON UPDATE CASCADE);"
            " INSERT INTO kin SELECT id, ssn FROM customers;", ("SELECT * FROM kin ORDER BY id",), "1"),
    Trigger("cursor", _fires("cursor_", "OPEN c FOR SELECT OLD.ssn; RETURN NULL;", declare="c refcursor := 'left';"),
            (_CHANGE, "SELECT 1"), is_refused=True),
    Trigger("lock", _fires("lock_", "PERFORM pg_advisory_lock(replace(OLD.ssn, '-', '')::int); RETURN NULL;"),
            (_CHANGE, "SELECT objid FROM pg_locks WHERE locktype = 'advisory'"), is_refused=True),
    Trigger("setting", _fires("setting", "PERFORM set_config('x.last', OLD.ssn, false); RETURN NULL;"),
            (_CHANGE, "SELECT current_setting('x.last', true)"), is_refused=True),
    Trigger("temporary", _fires("temporary", "CREATE TEMP TABLE IF NOT EXISTS mine AS SELECT OLD.ssn; RETURN NULL;"),
            (_CHANGE, "SELECT 1"), is_refused=True),
    Trigger("default", "CREATE FUNCTION peek() RETURNS text LANGUAGE sql AS $x$ SELECT max(ssn) FROM p.customers $x$;"
            " CREATE TABLE filled (id int, x text DEFAULT peek());", ("INSERT INTO filled (id) VALUES (1)", "SELECT * FROM filled"), "1"),
    Trigger("check", "CREATE FUNCTION known(text) RETURNS boolean LANGUAGE plpgsql AS $x$ BEGIN RAISE NOTICE '%', (SELECT max(ssn) FROM"
            " p.customers); RETURN true; END $x$; CREATE TABLE checked (x text CHECK (known(x)));",
            ("INSERT INTO checked VALUES ('1')", "SELECT * FROM checked"), "1"),
)

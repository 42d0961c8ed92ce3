-- The leak test's own ground: labelled relations with canaries, and every kind of thing that reads them.
-- {schema} and {other} are schemas, {a} and {b} two values of a labelled text column, {na} and {nb} their digits.
CREATE SCHEMA {schema}; CREATE SCHEMA {other};
COMMENT ON SCHEMA {schema} IS 'made by lockgate leaktest'; COMMENT ON SCHEMA {other} IS 'made by lockgate leaktest';
SET search_path = {schema};

CREATE TABLE lk_t(id int primary key, name text, ssn text, n bigint);
INSERT INTO lk_t VALUES (1, 'ann', '{a}', {na}), (2, 'bob', '{b}', {nb});
CREATE TABLE lk_u(id int, note text); INSERT INTO lk_u VALUES (1, 'x');
CREATE VIEW lk_v AS SELECT id, ssn AS s FROM lk_t;
CREATE MATERIALIZED VIEW lk_mv AS SELECT id, ssn AS s FROM lk_t;
CREATE TYPE lk_ty AS (a text, b text);
CREATE SEQUENCE lk_seq;

-- code that reads them
CREATE FUNCTION lk_f_sql() RETURNS SETOF lk_t LANGUAGE sql AS 'SELECT * FROM {schema}.lk_t';
CREATE FUNCTION lk_f_tx() RETURNS text LANGUAGE plpgsql AS
  $$ DECLARE r text; BEGIN SELECT ssn INTO r FROM {schema}.lk_t WHERE id = 1; RETURN r; END $$;
CREATE FUNCTION lk_f_dyn(q text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE r text; BEGIN EXECUTE q INTO r; RETURN r; END $$;
CREATE FUNCTION lk_f_note() RETURNS void LANGUAGE plpgsql AS
  $$ DECLARE r text; BEGIN SELECT ssn INTO r FROM {schema}.lk_t WHERE id = 1; RAISE NOTICE 'v=%', r; END $$;
CREATE FUNCTION lk_f_op(text, text) RETURNS boolean LANGUAGE plpgsql AS
  $$ DECLARE r text; BEGIN SELECT ssn INTO r FROM {schema}.lk_t WHERE id = 1; RAISE NOTICE '%', r; RETURN true; END $$;
CREATE OPERATOR ### (LEFTARG = text, RIGHTARG = text, FUNCTION = lk_f_op);
CREATE FUNCTION lk_f_row(lk_t) RETURNS text LANGUAGE sql AS 'SELECT $1.ssn';
CREATE FUNCTION lk_f_any(r anyelement) RETURNS text LANGUAGE plpgsql AS
  $$ DECLARE s text; BEGIN SELECT ssn INTO s FROM {schema}.lk_t WHERE id = 1; RETURN s; END $$;
CREATE FUNCTION lk_f_lie(int) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ssn FROM {schema}.lk_t WHERE id = $1';
CREATE FUNCTION lk_f_step(text, text) RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM {schema}.lk_t';
CREATE AGGREGATE lk_agg_leak(text) (SFUNC = lk_f_step, STYPE = text, INITCOND = '');
CREATE FUNCTION lk_f_cast(lk_ty) RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM {schema}.lk_t';
CREATE CAST (lk_ty AS text) WITH FUNCTION lk_f_cast(lk_ty);
CREATE PROCEDURE lk_p_leak(INOUT x text) LANGUAGE plpgsql AS
  $$ BEGIN SELECT ssn INTO x FROM {schema}.lk_t WHERE id = 1; END $$;
CREATE TABLE lk_ruled(a text); CREATE RULE r AS ON INSERT TO lk_ruled DO INSTEAD SELECT ssn FROM {schema}.lk_t;
CREATE TABLE lk_shouting(id int, word text);
CREATE FUNCTION lk_f_shout() RETURNS trigger LANGUAGE plpgsql AS
  $$ DECLARE r text; BEGIN SELECT ssn INTO r FROM {schema}.lk_t WHERE id = 1; NEW.word := r; RAISE NOTICE '%', r; RETURN NEW; END $$;
CREATE TRIGGER lk_shout BEFORE INSERT OR UPDATE ON lk_shouting FOR EACH ROW EXECUTE FUNCTION lk_f_shout();

-- triggers that carry them on: whatever they are written to, they are still what they were
CREATE TABLE lk_source(id int primary key, ssn text, word text); INSERT INTO lk_source VALUES (1, '{a}', 'x'), (2, '{b}', 'y');
CREATE TABLE lk_trail(id int, val text); CREATE TABLE lk_trail_late(id int, val text); CREATE TABLE lk_trail_set(id int, val text);
CREATE FUNCTION lk_f_trail() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO lk_trail VALUES (OLD.id, OLD.ssn); RETURN NEW; END $$;
CREATE TRIGGER lk_trails AFTER UPDATE ON lk_source FOR EACH ROW EXECUTE FUNCTION lk_f_trail();
CREATE TABLE lk_source_late(id int, ssn text, word text); INSERT INTO lk_source_late VALUES (1, '{a}', 'x');
CREATE FUNCTION lk_f_trail_late() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO lk_trail_late VALUES (NEW.id, NEW.ssn); RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER lk_trails_late AFTER UPDATE ON lk_source_late DEFERRABLE FOR EACH ROW EXECUTE FUNCTION lk_f_trail_late();
CREATE TABLE lk_source_set(id int, ssn text, word text); INSERT INTO lk_source_set VALUES (1, '{a}', 'x');
CREATE FUNCTION lk_f_trail_set() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO lk_trail_set SELECT id, ssn FROM lk_rows; RETURN NULL; END $$;
CREATE TRIGGER lk_trails_set AFTER UPDATE ON lk_source_set REFERENCING NEW TABLE AS lk_rows
  FOR EACH STATEMENT EXECUTE FUNCTION lk_f_trail_set();
CREATE TABLE lk_source_call(id int, ssn text, word text); INSERT INTO lk_source_call VALUES (1, '{a}', 'x');
CREATE TABLE lk_trail_call(val text);
CREATE PROCEDURE lk_p_same(x text, INOUT y text) LANGUAGE plpgsql AS $$ BEGIN y := x; END $$;
CREATE FUNCTION lk_f_trail_call() RETURNS trigger LANGUAGE plpgsql AS
  $$ DECLARE v text; BEGIN CALL lk_p_same(NEW.ssn, v); INSERT INTO lk_trail_call VALUES (v); RETURN NEW; END $$;
CREATE TRIGGER lk_trails_call AFTER UPDATE ON lk_source_call FOR EACH ROW EXECUTE FUNCTION lk_f_trail_call();
CREATE TABLE lk_source_asks(id int, ssn text, word text); INSERT INTO lk_source_asks VALUES (1, '{a}', 'x');
CREATE TABLE lk_asked(guess text); CREATE TABLE lk_answers(is_so boolean);
CREATE FUNCTION lk_f_asks() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM 1 FROM lk_asked WHERE guess = NEW.ssn; INSERT INTO lk_answers VALUES (FOUND); RETURN NEW; END $$;
CREATE TRIGGER lk_asks AFTER UPDATE ON lk_source_asks FOR EACH ROW EXECUTE FUNCTION lk_f_asks();
CREATE TABLE lk_opens(id int);
CREATE FUNCTION lk_f_opens() RETURNS trigger LANGUAGE plpgsql AS
  $$ DECLARE c refcursor := 'lk_left'; BEGIN OPEN c FOR SELECT ssn FROM lk_t; RETURN NEW; END $$;
CREATE TRIGGER lk_left_open AFTER INSERT ON lk_opens FOR EACH ROW EXECUTE FUNCTION lk_f_opens();
CREATE DOMAIN lk_given AS text DEFAULT lk_f_tx(); CREATE TABLE lk_takes(id int, val lk_given);
CREATE TABLE lk_kept(val text);
CREATE FUNCTION lk_f_keeps(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO lk_kept VALUES ($2); RETURN $2; END $$;
CREATE AGGREGATE lk_agg_keeps(text) (SFUNC = lk_f_keeps, STYPE = text, INITCOND = '');
CREATE TABLE lk_source_keeps(id int, ssn text, word text); INSERT INTO lk_source_keeps VALUES (1, '{a}', 'x');
CREATE FUNCTION lk_f_gathers() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM lk_agg_keeps(x) FROM (VALUES (NEW.ssn)) v(x); RETURN NEW; END $$;
CREATE TRIGGER lk_gathers AFTER UPDATE ON lk_source_keeps FOR EACH ROW EXECUTE FUNCTION lk_f_gathers();

-- names and shapes of relations
CREATE TABLE "lk Mixed"(id int, "SSN" text, "Ssn" text); INSERT INTO "lk Mixed" VALUES (1, '{a}', 'open');
CREATE TABLE "lk_prénom_é"(id int, ssn text); INSERT INTO "lk_prénom_é" VALUES (1, '{a}');
CREATE TABLE "lk_we""ird"(id int, ssn text); INSERT INTO "lk_we""ird" VALUES (1, '{a}');
CREATE TABLE lk_pt(id int, ssn text) PARTITION BY RANGE (id);
CREATE TABLE lk_pt1 PARTITION OF lk_pt FOR VALUES FROM (0) TO (10); INSERT INTO lk_pt VALUES (1, '{a}');
CREATE TABLE lk_par(id int, ssn text); CREATE TABLE lk_chi(extra text) INHERITS (lk_par); INSERT INTO lk_chi VALUES (1, '{a}', 'e');
CREATE TABLE lk_gen(id int, ssn text, tail text GENERATED ALWAYS AS (right(ssn, 11)) STORED);
INSERT INTO lk_gen(id, ssn) VALUES (1, '{a}');
CREATE TABLE {other}.lk_dup(id int, ssn text); CREATE TABLE lk_dup(id int, other text);
INSERT INTO {other}.lk_dup VALUES (1, '{a}'); INSERT INTO lk_dup VALUES (1, 'open');
CREATE TABLE lk_big(id int, ssn text); ALTER TABLE lk_big ALTER ssn SET STORAGE EXTERNAL;
INSERT INTO lk_big SELECT 1, repeat('{a}', 1000);
CREATE TABLE lk_one(id int, ssn text UNIQUE, CHECK (length(ssn) > 5), CHECK (id < 100));
INSERT INTO lk_one VALUES (1, '{a}'), (2, '{b}');
CREATE TABLE lk_points_at(id int, ssn text REFERENCES lk_one(ssn)); INSERT INTO lk_points_at VALUES (1, '{a}');
CREATE TABLE lk_apart(id int, during int4range, ssn text, EXCLUDE USING gist (during WITH &&));
INSERT INTO lk_apart VALUES (1, '[1,5)', '{a}');
CREATE TYPE lk_pair AS (k int, ssn text); CREATE TABLE lk_typed OF lk_pair; INSERT INTO lk_typed VALUES (1, '{a}');
CREATE TABLE lk_holder(id int, whole lk_t); INSERT INTO lk_holder SELECT 1, lk_t FROM lk_t WHERE id = 1;
CREATE TABLE lk_series(id int, ssn text); INSERT INTO lk_series SELECT g, '{a}' FROM generate_series(1, 40) g;
CREATE INDEX ON lk_series (ssn);

-- views
CREATE VIEW lk_vv AS SELECT s AS q, id AS k FROM lk_v; CREATE VIEW lk_vvv(a) AS SELECT upper(q) FROM lk_vv;
CREATE VIEW lk_vagg AS SELECT max(ssn) AS m, count(*) AS c FROM lk_t;
CREATE VIEW lk_vfilter AS SELECT id FROM lk_t WHERE ssn < '5';
CREATE VIEW lk_vunion AS SELECT note AS z FROM lk_u UNION ALL SELECT ssn FROM lk_t;
CREATE VIEW lk_vfun AS SELECT lk_f_tx() AS x; CREATE VIEW lk_vstat AS SELECT most_common_vals::text AS m FROM pg_stats;
CREATE VIEW lk_vcte AS WITH lk_t AS (SELECT ssn AS w FROM {schema}.lk_t) SELECT w FROM lk_t;
CREATE VIEW lk_vjson AS SELECT to_jsonb(lk_t) AS j FROM lk_t;
CREATE VIEW lk_vrow AS SELECT r FROM (SELECT lk_t AS r FROM lk_t) z;
CREATE VIEW lk_vsafe WITH (security_barrier) AS SELECT id, ssn AS s FROM lk_t WHERE id < 10;
CREATE VIEW lk_vcheck AS SELECT id, name, ssn FROM lk_t WHERE id < 10 WITH CHECK OPTION;
CREATE RECURSIVE VIEW lk_vrec(i, s) AS SELECT 1, ssn FROM lk_t WHERE id = 1 UNION ALL SELECT i + 1, s FROM lk_vrec WHERE i < 2;
CREATE MATERIALIZED VIEW lk_mvclean AS SELECT id, name FROM lk_t;
CREATE MATERIALIZED VIEW lk_mvfun AS SELECT lk_f_tx() AS x;
CREATE MATERIALIZED VIEW lk_mvtail AS SELECT id, right(ssn, 11) AS tail, name FROM lk_t;
CREATE MATERIALIZED VIEW lk_mvsub AS SELECT id, (SELECT max(ssn) FROM lk_t) AS deep FROM lk_u;
CREATE MATERIALIZED VIEW lk_mvjoin AS SELECT x.z, lk_u.note FROM lk_u JOIN (SELECT ssn AS z, id FROM lk_t) x ON x.id = lk_u.id;
CREATE VIEW lk_vovermv AS SELECT tail FROM lk_mvtail;

-- types
CREATE TABLE lk_contacts(id int primary key, email varchar(60), phone char(12), born date, score numeric(6, 2), tags text[],
  doc jsonb, ok boolean);
INSERT INTO lk_contacts VALUES (1, '{mail}@example.com', '555-0100', '1980-02-03', 7.5, '{x,y}', '{"a": 1}', true);
CREATE TABLE lk_moody(id int, mood lk_ty); INSERT INTO lk_moody VALUES (1, ROW('a', 'b'));
CREATE DOMAIN lk_code AS text CHECK (length(VALUE) > 3);
CREATE TABLE lk_kinds(id int, secret_int4 int, secret_int8 bigint, secret_numeric numeric(20, 4), secret_float8 float8,
  secret_money money, secret_varchar varchar(40), secret_bpchar char(20), secret_name name, secret_domain lk_code,
  secret_bytea bytea, secret_date date, secret_timestamp timestamp, secret_timestamptz timestamptz, secret_interval interval,
  secret_uuid uuid, secret_inet inet, secret_macaddr macaddr, secret_json json, secret_jsonb jsonb, secret_array text[],
  secret_numbers bigint[], secret_range int8range, secret_tsvector tsvector, secret_point point, secret_bits bit(40),
  secret_row lk_pair);
INSERT INTO lk_kinds VALUES (1, {i4}, {na}, {na}.5, {na}, {i4}, '{a}', '{a}', '{a}', '{a}', '\x{hex}', {date}, {date} + time '{time}',
  {date} + timetz '{time}+00', interval '{i4} seconds', '{uuid}', '{inet}', '{mac}', '{"k": "{a}"}', '{"k": "{a}"}', ARRAY['{a}'],
  ARRAY[{na}], int8range({na}, {na} + 3), '''{a}'':1', point({na}, 1), {na}::bit(40), ROW(1, '{a}'));
CREATE TABLE lk_texts(id int, ssn text); INSERT INTO lk_texts VALUES (1, '{a}'), (2, 'x {b} y');
CREATE STATISTICS lk_st (mcv, dependencies) ON ssn, id FROM lk_series;
GRANT USAGE ON SCHEMA {schema}, {other} TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA {other} TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO PUBLIC;
ANALYZE lk_t; ANALYZE lk_series; ANALYZE lk_u; ANALYZE lk_kinds;
RESET search_path;

-- Statements that tell where the rows of a table lie that is split by a labelled column (the model SPLIT of
-- testbed/noninterference/models.py). Written for Lockgate. An empty line ends a statement.

select id, ward, note from wards order by id;

select count(*) from wards where ward = 'a';

select * from v_wards order by id;

select id from wards_a;

select count(*) from only wards_rest;

select id from wards_low order by id;

table wards_a;

copy wards_a (id) to stdout;

copy (select id from wards_low) to stdout;

select id from v_low;

select id, place from mv_where;

select id, tableoid::regclass from wards order by id;

select max(w.ctid) from wards w;

select w.*, w.tableoid from wards w order by id;

select (select count(*) from wards_a), id from beds;

explain (costs off) select id from wards where ward = 'a';

explain (analyze, costs off, timing off, summary off, buffers off) select id from wards;

explain (analyze, costs off, timing off, summary off, buffers off) select id from v_wards;

prepare w1 as select id from wards; explain (analyze, costs off, timing off, summary off, buffers off) execute w1;

insert into wards values (9, 'a', 'n') returning id, ward;

insert into wards values (9, 'a', 'n') returning tableoid::regclass;

update wards set note = 'z' where id = 1 returning id, note;

update wards set note = 'z' where id = 1 returning tableoid::regclass, id;

update wards set ward = 'a' where id = 2 returning id;

update wards_a set note = 'z';

delete from wards_low;

delete from wards where tableoid = 'w.wards_a'::regclass;

delete from wards where id = 3 returning id;

truncate wards_a;

drop table wards_a; select id from wards order by id;

alter table wards detach partition wards_a;

create table wards_b partition of wards for values in ('b');

create index on wards_a (id);

merge into beds b using wards_a w on b.id = w.id when matched then delete;

select b.id from beds b where exists (select from wards_a w where w.id = b.id);

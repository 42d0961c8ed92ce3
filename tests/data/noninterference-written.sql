-- Statements that tell two databases apart as soon as one labelled column is read past the masks, each by another
-- place in the grammar. They run on the schema of testbed/noninterference/crm.sql. Written for Lockgate.
-- An empty line ends a statement.

-- a labelled column that is used in a JOIN condition only, by a sub-select and by name

select r.name, i.name from regions r join items i on i.stock > (select max(p.score) from people p);

select r.name, i.name from regions r left join items i on exists (select from people p where p.score = r.id);

select r.id, o.id from regions r full join orders o on r.id = o.id and o.item = any (select a.iban from accounts a);

select r.name from regions r join items i on i.name in (select y.iban from payments y) or r.id in (select score from people);

select r.name, p.name from regions r join people p on p.score = r.id order by 1, 2;

select count(*) from payments y join accounts a using (iban);

select count(*) from payments natural join accounts;

select count(*) from regions r cross join lateral (select 1 from people p where p.rank = r.id) x;

-- in WHERE only

select name from regions where exists (select from people where score = regions.id);

select name from items where stock < (select max(points) from people);

select id, name from people where ssn like '219%';

select id from people where (score, rank) in (select id, id from regions);

select id from people where birthday = born;

select name from items where 'red' = any (select unnest(tags) from people);

-- in a window

select r.id, rank() over (order by (select max(p.score) from people p where p.region = r.id)) from regions r;

select o.id, sum(o.id) over w from orders o window w as (partition by (select flag from people p where p.id = o.person));

select id, row_number() over (order by salary desc) from people;

select id, first_value(name) over (partition by level order by id) from people;

select id, count(*) over (order by id rows between (select max(score) from people) preceding and current row) from orders;

-- in CASE

select r.id, case when exists (select from people p where p.score = r.id) then 1 else 0 end from regions r;

select case (select max(level)::text from people) when 'gold' then 1 when 'silver' then 2 end;

select id, case when salary > 1000 then 'rich' else 'poor' end from people;

select id from regions order by case when id in (select score from people) then 0 else 1 end, id;

-- in set operations

select name from regions union all select ssn from people;

select name from people except select nick from people;

select id from regions intersect select score from people;

(select name from items) union (select iban from accounts) order by 1;

select name from items except all (select iban from accounts union select iban from payments);

-- through views and materialised views

select * from v_people;

select count(*) from v_rich;

select name, place from v_ranked order by place, name;

select word from v_either;

select id, rich from v_deep;

select answer, count(*) from v_case group by answer;

select * from v_joined;

select id, last from v_over;

select last from mv_people;

select count(*) from mv_rich;

select many from mv_levels;

select many from mv_many;

select * from v_paid order by id;

-- sub-selects everywhere else

select (select ssn from people where id = 1);

select array(select ssn from people order by id);

select id from orders order by (select max(score) from people), id;

select id from orders limit (select max(score) from people where id = 1);

select id from orders offset (select min(score) from people);

select count(*) filter (where exists (select from people where score = o.id)) from orders o;

select count(*) from orders group by (select max(ssn) from people), item having count(*) > (select min(score) from people);

select distinct on ((select max(ssn) from people), item) item, id from orders order by 1, 2;

select greatest(o.id, (select max(score) from people)) from orders o;

select coalesce((select nick from people where id = 2), 'none'), nullif('annie', (select nick from people where id = 1));

select row(1, 2) < (select score, rank from people where id = 1);

select * from generate_series(1, (select max(score) from people)) g;

values (1, (select max(ssn) from people)), (2, null);

with recursive walk(n, word) as (select 1, max(ssn) from people union all select n + 1, word || 'x' from walk where n < 3)
select * from walk;

with people as (select 1 as id) select * from people, crm.people as real where real.ssn is not null;

with changed as (update orders set item = (select max(ssn) from people) where id = 1 returning item) select * from changed;

select id from people tablesample bernoulli (70) repeatable (5) where salary > 10;

select max(ssn) from people tablesample system (100);

-- aggregates and whole rows

select count(ssn), count(distinct level), sum(salary), avg(score), bool_or(flag) from people;

select string_agg(name, ',' order by salary) from people;

select percentile_cont(0.5) within group (order by ratio), mode() within group (order by level) from people;

select level, flag, count(*) from people group by cube (level, flag) order by 1, 2;

select p from people p order by p limit 3;

select p is null, p = p, hashtext(p::text) from people p;

select to_jsonb(p) - 'id', row_to_json(p) from people p;

select (p).*, (p).reach.value from people p;

select jsonb_object_agg(id, profile) from people;

select "Id", "Secret Word" from "Mixed Case" where "Secret Word" = "Open Word";

-- casts, errors, lengths

select ssn::int from people;

select 1 / (score - 1) from people;

select id, length(ssn), octet_length(photo), jsonb_typeof(profile), array_length(tags, 1), isfinite(birthday) from people;

select convert_from(photo, 'UTF8') from people;

select ('[' || ssn)::jsonb from people where id = 1;

select id, (profile ->> 'age')::int from people;

-- partitions and inheritance

select * from events order by id;

select secret from only events_2025;

select tableoid::regclass, secret is null from events;

select * from devices;

select imei from only devices;

select number, imei from phones;

-- other ways out

copy people to stdout;

copy people (ssn, id) to stdout with (format csv, header);

copy (select ssn, photo from people) to stdout with (format binary);

table accounts;

prepare p1 (int) as select ssn, salary from people where id = $1; execute p1 (1); execute p1 (2);

declare c1 scroll cursor for select ssn from people; fetch all from c1; fetch backward 2 from c1;

create temp table kept as select * from people; select ssn, salary from kept;

create temp view kept as select ssn as word from people where flag; select * from kept;

select ssn, name into temp kept from people; table kept;

explain (costs off, verbose) select name from people where salary > 1000 and ssn = '219-09-9999';

explain (analyze, costs off, timing off, summary off, buffers off) select name from people where salary > 1000;

select id from people where salary > 10 for update;

-- changes

update orders set quantity = (select max(score) from people) returning *;

insert into audit_log (word) select ssn from people returning word;

insert into items select iban, balance, limit_of from accounts on conflict (name) do update set stock = excluded.stock;

delete from orders o using people p where p.score = o.id returning o.id;

update orders o set extra = p.profile from people p where p.id = o.person;

merge into items i using (select iban, balance from accounts) a on i.name = a.iban
when matched then update set stock = 7 when not matched then insert values (a.iban, a.balance, 1);

update people set name = name || '!' where id = 1 returning id, name, title, ssn, tail, worth;

update people set ssn = '1' where id = 2 returning ssn, tail;

insert into people (id, name, ssn, salary) values (100, 'new', '987', 5) returning id, ssn, worth;

delete from payments where id = 3 returning *;

update people set region = 2 where salary > 1000;

delete from payments where card = 1;

update people set name = ssn;

update people set salary = salary + 1;

update people set name = 'x' where current_date < birthday;

update v_rich set name = 'x';

delete from v_rich;

insert into v_names (id, name) values (101, 'bea') returning id, name;

update v_people set name = 'x' where id = 1 returning name, ssn;

insert into accounts (id, owner, iban) values (100, 1, 'DE10');

insert into accounts (id, owner, iban) values (100, 1, 'DE99') on conflict (iban) do nothing;

update payments set iban = 'A' where id = 6;

insert into payments (id, iban) values (100, 'no such'); set constraints all immediate;

update people set salary = -1000000 where id = 1;

insert into events (id, day, secret) values (100, '2026-05-05', 'mine') returning *;

with gone as (delete from events where secret = 'alpha' returning id) select count(*) from gone;

truncate phones; select count(*) from devices;

-- functions and triggers

select id, name_of(id), initial(name), orders_of(id) from people order by id;

select s.s, r.name from regions r cross join lateral staff(r.id) s(s);

select id, ssn_of(id) from orders;

select name from people where is_rich(id);

select initial(ssn), initial(nick) from people order by id;

select * from v_called order by id;

select account, word from iban_log order by entry;

update accounts set currency = 'GBP' where id = 2 returning id, iban;

begin; insert into payments (id, iban) values (100, 'no such'); commit;

begin; update payments set iban = 'DE10' where id = 1; update payments set iban = null where id = 1; commit;

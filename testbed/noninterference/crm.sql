-- The shop that the noninterference harness works on: every kind of relation, labelled columns of many
-- types, open ones beside them. Labelled columns come in empty; each side then runs a script of its own
-- (crm-one.sql, crm-two.sql) that touches the same rows in the same order, so that all else stays equal.
create schema crm;
set search_path = crm;

create type tier as enum ('bronze', 'silver', 'gold');
create type contact as (kind text, value text);
create domain short_code as text check (length(value) <= 12);

create table regions (id int primary key, name text not null unique, population bigint, founded date);
insert into regions values (1, 'north', 1200, '1900-01-01'), (2, 'south', 800, '1910-05-05'),
    (3, 'east', null, '1920-02-29'), (4, 'west', 15, null);

create table people (
    id int primary key, name text not null, region int references regions, born date, active boolean,
    ssn text, email varchar(60), nick text,
    score int, points bigint, rank smallint, ratio float8, flag boolean,
    salary numeric(10, 2) constraint people_salary check (salary >= -100000),
    birthday date, seen timestamptz, wake time, span interval, token uuid, profile jsonb, doc json, photo bytea,
    tags text[], marks int[], level tier, address inet, period int4range, initials char(3), code short_code,
    reach contact,
    title text generated always as (upper(name)) stored,
    tail text generated always as (right(ssn, 4)) stored,
    worth numeric generated always as (salary * 2) stored
);
insert into people (id, name, region, born, active) values
    (1, 'ann', 1, '1980-02-03', true), (2, 'bob', 1, '1999-12-31', false), (3, 'cleo', 2, null, true),
    (4, 'dan', 3, '1975-06-15', null), (5, 'eve', null, '2001-01-01', true), (6, 'bob', 2, '1980-02-03', false);

create table accounts (
    id int primary key, owner int not null references people (id), iban text constraint accounts_iban unique,
    balance numeric, limit_of int, currency text not null default 'EUR', opened date
);
insert into accounts (id, owner, currency, opened) values
    (1, 1, 'EUR', '2020-01-01'), (2, 1, 'USD', '2021-01-01'), (3, 2, 'EUR', '2022-03-04'), (4, 4, 'CHF', null),
    (5, 5, 'EUR', '2024-02-29');

create table payments (
    id int primary key, account int references accounts (id),
    iban text constraint payments_iban references accounts (iban) deferrable initially deferred,
    card bigint, amount numeric(10, 2), note text, paid timestamp
);
insert into payments (id, account, amount, note, paid) values
    (1, 1, 10.50, 'rent', '2026-01-01 10:00'), (2, 1, -3, null, '2026-01-02 11:30'), (3, 2, 99.99, 'tea', null),
    (4, 3, 0, 'gift', '2026-02-01'), (5, 5, 7.25, 'tea', '2026-02-03 08:15'), (6, null, 1, 'stray', null);

create table events (id int, day date, person int, secret text, weight numeric, kind text, primary key (id, day))
    partition by range (day);
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
create table events_rest partition of events default;
insert into events (id, day, person, kind) values (1, '2025-03-01', 1, 'call'), (2, '2025-07-01', 2, 'visit'),
    (3, '2026-01-15', 1, 'call'), (4, '2026-02-15', 3, null), (5, '2020-01-01', 6, 'visit');

create table devices (id int, model text, imei text);
create table phones (carrier text, number text) inherits (devices);
insert into devices (id, model) values (1, 'pad'), (2, 'watch');
insert into phones (id, model, carrier) values (3, 'one', 'blue'), (4, 'two', 'red');

create table "Mixed Case" ("Id" int, "Secret Word" text, "Open Word" text);
insert into "Mixed Case" ("Id", "Open Word") values (1, 'apple'), (2, 'pear');

create table items (name text primary key, price numeric, stock int);
insert into items values ('pen', 1.5, 100), ('ink', 7, 0), ('pad', 3.25, 12);
create table audit_log (entry int generated always as identity, word text);
insert into audit_log (word) values ('begin'), ('pen'), (null);
create table orders (id int primary key, person int, item text, quantity int, placed date, extra jsonb);
insert into orders values (1, 1, 'pen', 3, '2026-01-01', '{"gift": true}'), (2, 1, 'ink', 1, '2026-01-02', null),
    (3, 2, 'pad', 10, null, '[1, 2]'), (4, 5, 'pen', null, '2026-03-03', '{"gift": false, "to": "eve"}');
create function log_order() returns trigger language plpgsql as
    $$ begin insert into crm.audit_log (word) values (tg_op || ' ' || new.item); return new; end $$;
create trigger orders_logged after insert or update on orders for each row execute function log_order();

-- Code that the owner wrote: what gives open columns is let through, what looks at labelled ones is not.
create function name_of(who int) returns text language sql stable as
    $$ select p.name from crm.people p where p.id = who $$;
create function initial(word text) returns text language sql immutable as $$ select left(word, 1) $$;
create function orders_of(who int) returns int language plpgsql stable as
    $$ declare n int; begin select count(*) into n from crm.orders o where o.person = who; return n; end $$;
create function staff(place int) returns setof text language sql stable as
    $$ select p.name from crm.people p where p.region = place order by p.id $$;
create function ssn_of(who int) returns text language sql stable as
    $$ select p.ssn from crm.people p where p.id = who $$;
create function is_rich(who int) returns boolean language plpgsql stable as
    $$ begin return exists (select from crm.people p where p.id = who and p.salary > 1000); end $$;
create table iban_log (entry int generated always as identity, account int, word text);
create function log_iban() returns trigger language plpgsql as
    $$ begin insert into crm.iban_log (account, word) values (new.id, new.iban); return new; end $$;
create trigger ibans_logged after update on accounts for each row execute function log_iban();

create view v_called as select id, name_of(person) as name, initial(item) as letter from orders;
create view v_people as select * from people;
create view v_names as select id, name, region from people;
create view v_paid as select p.id, p.name, a.iban, sum(y.amount) as total
    from people p join accounts a on a.owner = p.id left join payments y on y.account = a.id group by 1, 2, 3;
create view v_rich as select id, name from people where salary > 1000;
create view v_ranked as select id, name, rank() over (order by score) as place from people;
create view v_either as select name as word from people union select ssn from people;
create view v_deep as select v.id, v.tail, exists (select from v_rich r where r.id = v.id) as rich from v_people v;
create view v_case as select id, case when flag then 'yes' else 'no' end as answer from people;
create view v_sub as select r.id, (select max(p.ssn) from people p where p.region = r.id) as top from regions r;
create view v_joined as select r.name, p.name as person from regions r join people p on p.score = r.id;
create view v_open as select o.id, o.item, i.stock from orders o left join items i on i.name = o.item;
create materialized view mv_people as select id, name, ssn, right(ssn, 4) as last from people;
create materialized view mv_names as select id, name from people;
create materialized view mv_rich as select id, name from people where salary > 1000;
create materialized view mv_levels as select level, count(*) as many from people group by level;
create materialized view mv_many as select count(*) as many from v_rich;
create view v_over as select last, id from mv_people;

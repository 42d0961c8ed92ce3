-- Side one: plain, parsable, joinable values.
set search_path = crm;
update people set ssn = v.ssn, email = v.email, nick = v.nick, score = v.score, points = v.points, rank = v.rank,
    ratio = v.ratio, flag = v.flag, salary = v.salary
from (values
    (1, '219-09-9999', 'ann.lee@example.com', 'annie', 1, 7000000001, 1, 0.5, true, 1500.00),
    (2, '219-09-9998', 'bob@example.org', null, 2, 2, 2, -1, false, 99.99),
    (3, '219-09-9997', 'cleo@example.net', 'c', 2, null, 3, 1e300, true, null),
    (4, null, null, 'dee', 3, 40, null, null, null, 20000),
    (5, '12', 'e1234567890@example.com', 'ann', 4, 0, 5, 0, true, 0),
    (6, '219-09-9990', 'longer-text-6789', 'bob', null, -5, 6, 3.25, false, 1000.01)
) as v (id, ssn, email, nick, score, points, rank, ratio, flag, salary) where v.id = people.id;
update people set birthday = v.birthday, seen = v.seen, wake = v.wake, span = v.span, token = v.token,
    profile = v.profile, doc = v.doc, photo = v.photo, tags = v.tags, marks = v.marks
from (values
    (1, date '1980-02-03', timestamptz '2026-01-01 00:00+00', time '07:00', interval '1 day',
        uuid '11111111-1111-1111-1111-111111111111', jsonb '{"age": 40, "likes": ["tea"]}', json '{"a": 1}',
        bytea 'hello', array['red', 'blue'], array[1, 2, 3]),
    (2, '1999-12-31', '2025-06-01 12:00+00', null, '2 hours', '22222222-2222-2222-2222-222222222222',
        '{"age": 20}', '[1, 2]', '\x00ff', array['red'], array[2]),
    (3, '2000-02-29', null, '08:30', null, null, '[1, 2, 3]', null, '\xc3a9', '{}', '{}'),
    (4, null, '2020-02-02 02:02+00', '23:59:59', '1 month', '44444444-4444-4444-4444-444444444444', null,
        '"text"', null, null, null),
    (5, '2001-01-01', '2026-01-01 00:00+00', '00:00', '-3 days', '55555555-5555-5555-5555-555555555555', '7',
        '{}', '', array['green', null], array[5, null]),
    (6, '1980-02-03', '2024-01-01 00:00+00', '12:00', '0', '66666666-6666-6666-6666-666666666666',
        '{"likes": []}', '{"a": {"b": 2}}', '\x01', array['blue', 'red'], array[9, 9])
) as v (id, birthday, seen, wake, span, token, profile, doc, photo, tags, marks) where v.id = people.id;
update people set level = v.level::tier, address = v.address::inet, period = v.period::int4range,
    initials = v.initials, code = v.code, reach = v.reach::contact
from (values
    (1, 'gold', '10.0.0.1', '[1,5)', 'AL', 'c-001', '(phone,555-0101)'),
    (2, 'silver', '10.0.0.2', '[2,3)', 'BOB', 'c-002', '(mail,bob)'),
    (3, 'gold', null, 'empty', 'C', '33', null), (4, 'bronze', '192.168.1.0/24', null, null, 'c-004', '(,)'),
    (5, null, '::1', '(,4)', 'EE', null, '(phone,555-0105)'), (6, 'silver', '10.0.0.1', '[1,5)', 'BB', 'c-002', '(x,y)')
) as v (id, level, address, period, initials, code, reach) where v.id = people.id;
update accounts set iban = v.iban, balance = v.balance, limit_of = v.limit_of
from (values (1, 'DE10', 100, 1), (2, 'DE20', -5.5, 2), (3, 'FR30', 0, 3), (4, 'CH40', null, 4), (5, null, 12345.678, 5))
    as v (id, iban, balance, limit_of) where v.id = accounts.id;
update payments set iban = v.iban, card = v.card
from (values (1, 'DE10', 4111111111111111), (2, 'DE10', null), (3, 'DE20', 4111111111111111), (4, 'FR30', 1),
    (5, null, 5500000000000004), (6, 'CH40', 2)) as v (id, iban, card) where v.id = payments.id;
update events set secret = v.secret, weight = v.weight
from (values (1, 'alpha', 1), (2, 'beta', 2.5), (3, 'alpha', null), (4, 'gamma', 0), (5, null, -4))
    as v (id, secret, weight) where v.id = events.id;
update devices set imei = v.imei from (values (1, '35-1'), (2, '35-2'), (3, '35-3'), (4, null)) as v (id, imei)
    where v.id = devices.id;
update phones set number = v.number from (values (3, '555-1'), (4, '555-2')) as v (id, number) where v.id = phones.id;
update "Mixed Case" set "Secret Word" = v.word from (values (1, 'apple'), (2, 'zebra')) as v (id, word)
    where v.id = "Mixed Case"."Id";

-- Side two: other order, equality, joins, lengths, signs, NULLs and parsability; what `partial` shows is the same.
set search_path = crm;
update people set ssn = v.ssn, email = v.email, nick = v.nick, score = v.score, points = v.points, rank = v.rank,
    ratio = v.ratio, flag = v.flag, salary = v.salary
from (values
    (1, '4817712', 'a@example.com', null, 90, -1, 30, float8 'nan', null, -50.00),
    (2, null, 'berta@example.org', 'annie', 80, 2, null, 2, true, 5000),
    (3, '77', 'c_3@example.net', 'bob', null, 3, 1, 0.25, null, 12.5),
    (4, 'zzz''"\%', null, null, 60, null, 1, 'infinity', true, null),
    (5, '', 'e@example.com', 'e', 90, 1, 1, -0.0, false, 99999),
    (6, 'ann', 'other-thing-6789', '', 50, 7000000002, 2, 3.25, true, 0)
) as v (id, ssn, email, nick, score, points, rank, ratio, flag, salary) where v.id = people.id;
update people set birthday = v.birthday, seen = v.seen, wake = v.wake, span = v.span, token = v.token,
    profile = v.profile, doc = v.doc, photo = v.photo, tags = v.tags, marks = v.marks
from (values
    (1, date 'infinity', timestamptz '-infinity', time '01:02:03', interval '-1 year',
        uuid 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa', jsonb '"scalar"', json '3',
        bytea '\xff', array['x'], array[-1]),
    (2, '1900-01-01', null, '07:00', null, null, null, null, null, null, null),
    (3, null, '2026-01-01 00:00+00', '07:00', '5 minutes', 'cccccccc-cccc-cccc-cccc-cccccccccccc', '{"age": "old"}',
        '{"a": 1}', 'hello', array['red', 'red', 'red'], array[0]),
    (4, '1975-06-15', '1999-01-01 00:00+00', null, '1 day', 'dddddddd-dddd-dddd-dddd-dddddddddddd', '[]',
        '"more"', '\x00', array['blue'], array[1, 2, 3]),
    (5, '0044-03-15 BC', '2026-01-01 00:00+00', '23:00', '10 years', 'dddddddd-dddd-dddd-dddd-dddddddddddd',
        '{"age": 40, "likes": ["tea", "ale"]}', '[[1]]', '\x00010203', '{}', array[7, 8, 9, 10]),
    (6, '1980-02-03', '2024-05-05 05:05+00', '12:00', '0', null, '7.5', null, '\x01', array['blue', 'red'], '{}')
) as v (id, birthday, seen, wake, span, token, profile, doc, photo, tags, marks) where v.id = people.id;
update people set level = v.level::tier, address = v.address::inet, period = v.period::int4range,
    initials = v.initials, code = v.code, reach = v.reach::contact
from (values
    (1, null, '255.255.255.255', '[7,9)', 'ZZZ', '1', null),
    (2, 'bronze', null, '(,)', null, null, '(mail,ann)'),
    (3, 'bronze', '10.0.0.1', '[1,5)', 'AL', 'c-001', '(phone,1)'), (4, 'silver', '10.0.0.1', '[1,5)', 'A', '4', '(a,b)'),
    (5, 'bronze', 'fe80::1', null, 'EE', 'c-001', null), (6, 'gold', '127.0.0.1', 'empty', '', 'x', '("","")')
) as v (id, level, address, period, initials, code, reach) where v.id = people.id;
update accounts set iban = v.iban, balance = v.balance, limit_of = v.limit_of
from (values (1, null, -1, 9), (2, 'A', 1e10, null), (3, 'B', numeric 'nan', 1), (4, 'DE10', 3, -3), (5, 'pen', 0, 0))
    as v (id, iban, balance, limit_of) where v.id = accounts.id;
update payments set iban = v.iban, card = v.card
from (values (1, 'pen', 0), (2, 'A', 10), (3, null, null), (4, 'pen', 20), (5, 'DE10', 30), (6, 'B', 4111111111111111))
    as v (id, iban, card) where v.id = payments.id;
update events set secret = v.secret, weight = v.weight
from (values (1, 'call', 100), (2, null, numeric 'nan'), (3, 'visit', 1), (4, 'a', -1), (5, 'alpha', 2))
    as v (id, secret, weight) where v.id = events.id;
update devices set imei = v.imei from (values (1, null), (2, '9'), (3, '35-1'), (4, '35-1')) as v (id, imei)
    where v.id = devices.id;
update phones set number = v.number from (values (3, null), (4, '1')) as v (id, number) where v.id = phones.id;
update "Mixed Case" set "Secret Word" = v.word from (values (1, null), (2, 'pear')) as v (id, word)
    where v.id = "Mixed Case"."Id";

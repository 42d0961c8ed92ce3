-- Read directly: every cell is a canary in a form that the backend gives it. One statement a line.
SELECT secret_int4, secret_int8, secret_numeric, secret_float8, secret_money, secret_bytea, secret_date, secret_timestamp FROM {schema}.lk_kinds
SELECT secret_timestamptz, secret_interval, secret_uuid, secret_inet, secret_macaddr, secret_numbers, secret_range, secret_point, secret_bits FROM {schema}.lk_kinds
SELECT secret_date - date '2000-01-01', to_char(secret_date, 'J'), extract(epoch FROM secret_timestamp), extract(epoch FROM secret_interval) FROM {schema}.lk_kinds
SELECT secret_inet - inet '0.0.0.0', host(secret_inet), macaddr8(secret_macaddr), secret_timestamp - timestamp '2000-01-01', secret_bits::bit(64)::bigint FROM {schema}.lk_kinds
SELECT hashtext(ssn), hashtextextended(ssn, 0), hashbpchar(ssn::bpchar), hashint8(n), hashint8extended(n, 0), hash_numeric(n) FROM {schema}.lk_t
SELECT to_timestamp(n), make_interval(secs => n), n / 1000000, n % 1000000 FROM {schema}.lk_t
SELECT hash_record(r) FROM (SELECT ssn AS c FROM {schema}.lk_t) r

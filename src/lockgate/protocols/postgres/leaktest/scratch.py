"""The leak test's own ground: a schema with canaries, made over a direct connection and dropped at the end.

Apart from `columns`, the ground that is somebody's own and only read. The canaries are new in every run, and made so
that no detector of content takes them for what it knows: what hides them has to be the mask of their column.
Everything has a name with the prefix ``lk_`` in schemas of its own, so that no statement of anybody else can mean it.
"""

from __future__ import annotations

import re
import secrets
from importlib.resources import files
from typing import Final

from lockgate.protocols.postgres.leaktest.corpus import benign_templates, filled, templates
from lockgate.wire.leaktest import Canary, Ground, Shape, Shot

SCHEMA: Final = "lockgate_leaktest"
OTHER: Final = "lockgate_leaktest_2"
_MARK: Final = "made by lockgate leaktest"
_HOLE: Final = re.compile(r"\{(\w+)\}")
_PROBES: Final = (
    ("lk_t", "ssn"), ("lk_t", "n"), ("lk_one", "ssn"), ("lk_pt", "ssn"), ("lk_chi", "ssn"), ("lk_typed", "ssn"),
    ("lk_contacts", "email"), ('"lk Mixed"', '"SSN"'), ("lk_kinds", "secret_uuid"), (f"{OTHER}.lk_dup", "ssn"),
)
_LABELLED: Final = (f"{SCHEMA}*.*.ssn", f"{SCHEMA}.*.SSN", f"{SCHEMA}.lk_t.n", f"{SCHEMA}.lk_contacts.email",
                    f"{SCHEMA}.lk_kinds.secret_*")
_HARVEST: Final = (
    "SELECT secret_int4, secret_int8, secret_numeric, secret_float8, secret_money, secret_bytea, secret_date,"
    " secret_timestamp, secret_timestamptz, secret_interval, secret_uuid, secret_inet, secret_macaddr, secret_numbers,"
    f" secret_range, secret_point, secret_bits FROM {SCHEMA}.lk_kinds",
    "SELECT secret_date - date '2000-01-01', to_char(secret_date, 'J'), extract(epoch FROM secret_timestamp),"
    " extract(epoch FROM secret_interval), secret_inet - inet '0.0.0.0', host(secret_inet), macaddr8(secret_macaddr),"
    f" secret_timestamp - timestamp '2000-01-01', secret_bits::bit(64)::bigint FROM {SCHEMA}.lk_kinds",
    "SELECT hashtext(ssn), hashtextextended(ssn, 0), hashbpchar(ssn::bpchar), hashint8(n), hashint8extended(n, 0),"
    f" hash_numeric(n), to_timestamp(n), make_interval(secs => n), n / 1000000, n % 1000000 FROM {SCHEMA}.lk_t",
    f"SELECT hash_record(r) FROM (SELECT ssn AS c FROM {SCHEMA}.lk_t) r",
)


def scratch() -> Ground:
    """A new ground with new canaries. Nothing is made by this."""
    one, two, mail = _code(), _code(), "".join(secrets.choice("bcdfghjkmnpqrstvwxz") for _ in range(14))
    values = {"rel": f"{SCHEMA}.lk_t", "col": "ssn", "only": "", "schema": SCHEMA, "other": OTHER}
    shapes = tuple(_certain(filled(template, values, one)) for template in templates())
    benign = tuple(_certain(filled(template, values, one)) for template in benign_templates())
    return Ground(
        canaries=(Canary("first", one), Canary("second", two), Canary("mail", mail)),
        shapes=shapes, benign=benign, opening=(f"SET search_path = {SCHEMA}",),
        probes={f"{relation.removeprefix(OTHER + '.')}.{column}": Shot((f"SELECT {column} FROM {relation}",))  # noqa: S608
                for relation, column in _PROBES},
        is_read_only=False, policy=_policy(), build=(_REFUSES_OTHERS, _DROP, _script(one, two, mail)), drop=(_DROP,),
        state=_STATE, harvest=_HARVEST,
    )


def _certain(shape: Shape | None) -> Shape:
    assert shape is not None
    return shape


def _code() -> str:
    """Twelve digits and two dashes: no number of a card, a person, a telephone or a date. The first digit is small, so that
    a wrong guess is the greater one."""
    digits = str(1 + secrets.randbelow(4)) + "".join(str(secrets.randbelow(10)) for _ in range(11))
    return f"{digits[:5]}-{digits[5:7]}-{digits[7:]}"


def _script(one: str, two: str, mail: str) -> str:
    raw = secrets.token_bytes(24)
    day = 20_000 + secrets.randbelow(10_000)
    values = {
        "schema": SCHEMA, "other": OTHER, "a": one, "b": two, "na": one.replace("-", ""), "nb": two.replace("-", ""),
        "mail": mail, "i4": str(300_000_000 + secrets.randbelow(1_700_000_000)), "hex": raw[:12].hex(),
        "date": f"(date '2000-01-01' + {day})", "uuid": raw[:16].hex(),
        "time": f"{raw[0] % 24:02}:{raw[1] % 60:02}:{raw[2] % 60:02}.{raw[3]:03}",
        "inet": f"{101 + raw[4] % 100}.{raw[5]}.{raw[6]}.{raw[7]}", "mac": ":".join(f"{byte:02x}" for byte in raw[8:14]),
    }
    text = files("lockgate.protocols.postgres.leaktest").joinpath("scratch.sql").read_text(encoding="utf-8")
    return _HOLE.sub(lambda found: values.get(found[1], found[0]), text)


def _policy() -> str:
    columns = ", ".join(f'"{glob}"' for glob in _LABELLED)
    return f"- name: leaktest\n  mask:\n    - {{columns: [{columns}], with: redact}}\n"


_DROP: Final = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; DROP SCHEMA IF EXISTS {OTHER} CASCADE"
_REFUSES_OTHERS: Final = (
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_namespace WHERE nspname IN "  # noqa: S608 - constants
    f"('{SCHEMA}', '{OTHER}') AND obj_description(oid, 'pg_namespace') IS DISTINCT FROM '{_MARK}') THEN RAISE EXCEPTION "
    f"'a schema {SCHEMA} exists that the leak test did not make: drop or rename it'; END IF; END $$"
)
_STATE: Final = (
    "SELECT md5(string_agg(c.oid || ' ' || c.relname || ' ' || a.attname || ' ' || a.atttypid || ' ' || a.attnum, ','"  # noqa: S608
    " ORDER BY c.oid, a.attnum)) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace IN"
    f" (SELECT oid FROM pg_namespace WHERE nspname LIKE 'lockgate!_leaktest%' ESCAPE '!') UNION ALL SELECT md5("
    f"string_agg(x::text, ',' ORDER BY id)) FROM {SCHEMA}.lk_t x UNION ALL SELECT md5(string_agg(x::text, ',' ORDER BY id))"
    f" FROM {SCHEMA}.lk_one x UNION ALL SELECT md5(string_agg(x::text, ',' ORDER BY id)) FROM {SCHEMA}.lk_u x"
)

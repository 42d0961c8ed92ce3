"""Masks of result values against a real server: what they make of every type is what the server could have sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import pq
from psycopg.adapt import Transformer

from lockgate.analysis.sql import Analyzer, Masked, SessionNames
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms, value_mask
from lockgate.model import ColumnMask, MaskMethod, Secret
from testbed.noninterference.databases import snapshot
from testbed.postgres import embedded

KEYS = MaskKeys(Secret("5a" * 32))
DOMAINS = {"digits": "text", "amount": "numeric(6,2)", "moment": "timestamptz", "tags": "text[]"}

# Declared type → values. A `~` in front says that the value is so small or so common that a mask may well show it.
VALUES = {
    "boolean": ["~true"],
    "int2": ["31000", "-32768", "~7"],
    "int4": ["1234567", "2147483647", "-2147483648", "-7654321", "~7"],
    "int8": ["1234567890123", "9223372036854775807", "-9223372036854775808", "1234567"],
    "oid": ["4294967295", "1234567"],
    "numeric": ["1234567.890", "-98765432109876543210.5", "0.00012345678", "NaN", "-Infinity", "1e20", "~0", "123456789.00"],
    "numeric(9,2)": ["1234567.89", "-7654321.09", "~0"],
    "numeric(4,2)": ["12.34", "-99.99"],
    "numeric(2,-3)": ["45000", "-99000"],
    "numeric(3,6)": ["0.000123"],
    "float4": ["1.5", "-3.25e20", "NaN", "Infinity"],
    "float8": ["1234.5678", "-1e300", "NaN", "-Infinity"],
    "money": ["1234.56", "-99.90"],
    "text": ["219-09-9999", "ann@example.com", "4111 1111 1111 1111", "Jörg Müller", "a\\b\"c{d},e", "~", "~x", "x" * 3000],
    "varchar": ["219-09-9999"],
    "varchar(3)": ["abc", "~ä"],
    "varchar(12)": ["219-09-9999", "ann@exam.ple"],
    "varchar(70)": ["219-09-9999", "Ann Miller", "ann.with.a.long.name@example.com"],
    "char": ["~q"],
    "char(3)": ["abc", "~a"],
    "char(20)": ["219-09-9999", "Ann Miller"],
    "char(80)": ["219-09-9999"],
    "name": ["somebody_12345678", "n" * 63],
    '"char"': ["~q"],
    "bytea": ["\\x00ff41424344", "~\\x", "\\x5c5c27"],
    "date": ["1984-02-29", "infinity", "-infinity", "~5874897-12-31", "4713-01-02 BC", "0001-01-01"],
    "timestamp": ["1984-02-29 12:13:14.123456", "infinity", "~294276-12-31 23:59:59.999999", "0044-03-15 10:00:00 BC"],
    "timestamp(0)": ["1984-02-29 12:13:14"],
    "timestamptz": ["1984-02-29 12:13:14.123456+00", "-infinity", "294276-12-31 23:59:59.9+00", "0044-03-15 10:00:00+00 BC"],
    "time": ["12:13:14.5"],
    "timetz": ["12:13:14.5+02"],
    "interval": ["1 year 2 mons 3 days 04:05:06.7", "-5 days"],
    "uuid": ["9b2f4c1e-8a57-4a35-9b6f-0d6c1f7a2e11", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "json": ['{"ssn": "219-09-9999", "n": 12345678}', "[12345678]", '"219-09-9999"'],
    "jsonb": ['{"ssn": "219-09-9999", "n": 12345678}', "[12345678]", '"219-09-9999"'],
    "inet": ["10.1.2.3", "192.168.7.0/24", "2001:db8::7", "2001:db8::/32"],
    "cidr": ["10.1.2.0/24", "2001:db8::/32", "10.1.2.3/32"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(3)": ["101"],
    "bit(20)": ["10100101001010010100"],
    "bit varying": ["1010011"],
    "bit varying(9)": ["1010011"],
    "point": ["(1.5,2.5)"],
    "lseg": ["[(1,2),(3,4)]"],
    "path": ["((1,2),(3,4))", "[(1,2),(3,4)]"],
    "box": ["(3,4),(1,2)"],
    "polygon": ["((1,2),(3,4),(5,6))"],
    "line": ["{1,2,3}"],
    "circle": ["<(1,2),3>"],
    "tsvector": ["'secret':1 'word':2"],
    "tsquery": ["'secret' & 'word'"],
    "pg_lsn": ["16/B374D848"],
    "xid": ["12345678"],
    "cid": ["12345678"],
    "xid8": ["123456789012"],
    "tid": ["(17,3)"],
    "jsonpath": ['$."secret"'],
    "refcursor": ["secretcursor"],
    "regclass": ["pg_class"],
    "int4range": ["[12345678,22345678)"],
    "numrange": ["[1234567.5,2234567.5]"],
    "int8range": ["[12345678,22345678)"],
    "daterange": ["[1984-02-29,1985-02-28)"],
    "tsrange": ['["1984-02-29 01:02:03","1985-02-28 01:02:03")'],
    "tstzrange": ['["1984-02-29 01:02:03+00","1985-02-28 01:02:03+00")'],
    "int4multirange": ["{[12345678,22345678)}"],
    "datemultirange": ["{[1984-02-29,1985-02-28)}"],
    "text[]": ['{219-09-9999,NULL,"a,b \\"c\\"",""}', "~{}", "{{secret1,secret2},{secret3,secret4}}", "[2:3]={secret5,secret6}"],
    "varchar(70)[]": ["{219-09-9999}"],
    "char(5)[]": ["{secre}"],
    "int4[]": ["{1234567,NULL,-7654321}"],
    "numeric(9,2)[]": ["{1234567.89}"],
    "date[]": ["{1984-02-29,infinity}"],
    "timestamptz[]": ['{"1984-02-29 12:13:14+00"}'],
    "uuid[]": ["{9b2f4c1e-8a57-4a35-9b6f-0d6c1f7a2e11}"],
    "bytea[]": ['{"\\\\x53454352455431"}'],
    "jsonb[]": ['{"{\\"ssn\\": \\"219-09-9999\\"}"}'],
    "inet[]": ["{10.1.2.3}"],
    "box[]": ["{(3,4),(1,2);(7,8),(5,6)}"],
    "bool[]": ["~{t,f}"],
    "int4range[]": ['{"[12345678,22345678)"}'],
    "mood": ["happy"],
    "mood[]": ["{happy,sad}"],
    "pair": ['(12345678,"secret word")'],
    "pair[]": ['{"(12345678,\\"secret word\\")"}'],
    "digits": ["219-09-9999"],
    "amount": ["1234.56"],
    "moment": ["1984-02-29 12:13:14+00"],
    "tags": ["{secret1,secret2}"],
}  # fmt: skip
REFORMATTED = {"money"}             # the server writes zero in the currency of its locale


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    with embedded() as server, psycopg.connect(server.dsn(), autocommit=True) as opened:
        opened.execute("set timezone = 'UTC'")
        opened.execute("create type mood as enum ('happy', 'sad'); create type pair as (a int, b text)")
        for name, base in DOMAINS.items():
            opened.execute(f"create domain {name} as {base}".encode())
        for index, kind in enumerate(VALUES):
            opened.execute(f"create table t{index} (id serial, v {kind})".encode())
            for value in VALUES[kind]:
                opened.execute(f"insert into t{index}(v) values (%s::{kind})".encode(), [value.removeprefix("~")])
        yield opened


def run(connection: psycopg.Connection, text: str, parameters: list[bytes | None] | None = None, oid: int = 0,
        binary: bool = False) -> pq.abc.PGresult:
    count = len(parameters or ())
    result = connection.pgconn.exec_params(text.encode(), parameters, [oid] * count or None, [int(binary)] * count or None,
                                           int(binary))
    assert result.status == pq.ExecStatus.TUPLES_OK, (text, parameters, result.error_message)
    return result


def decodes(load: Callable[[bytes], object], value: bytes) -> bool:
    """Whether psycopg can read the value itself: it knows no infinite date and no year above 9999."""
    try:
        load(value)
    except psycopg.DataError:
        return False
    return True


def terms(method: MaskMethod, scope: bytes = b"task 1") -> MaskTerms:
    return MaskTerms(method, scope, "pii")


@pytest.mark.parametrize("method", list(MaskMethod))
@pytest.mark.parametrize("kind", list(VALUES))
def test_a_mask_is_what_the_server_could_have_sent(connection: psycopg.Connection, kind: str, method: MaskMethod) -> None:
    """Stored in a column of the same type and modifier and read again, a mask is the same bytes; psycopg decodes it;
    text and binary hide one value behind the same; and nothing of the value is left."""
    index = list(VALUES).index(kind)
    seen: dict[bool, list[str | None]] = {}
    for binary in (False, True):
        raw = run(connection, f"select v from t{index} order by id", binary=binary)
        column = ColumnType(raw.ftype(0), raw.fmod(0))
        mask = value_mask(terms(method), column, binary, KEYS)
        load = Transformer(connection).get_loader(column.oid, pq.Format(binary)).load
        seen[binary] = []
        for row, written in enumerate(VALUES[kind]):
            value = raw.get_value(row, 0)
            assert value is not None
            new = mask.replace(value)
            if new is None:
                seen[binary].append(None)
                continue
            back = run(connection, f"insert into t{index}(v) values ($1) returning v", [new], column.oid, binary)
            stored = back.get_value(0, 0)
            if binary or kind not in REFORMATTED:
                assert stored == new, (value, new)
            if decodes(load, value):
                load(new)
            shown = connection.execute(f"delete from t{index} where id > {len(VALUES[kind])} returning v::text".encode())
            text = shown.fetchone()
            assert text is not None
            seen[binary].append(text[0])
            if not written.startswith("~") and "infinity" not in written.lower() and written != "NaN":
                assert value not in new, (value, new)
                assert written not in text[0]
    assert seen[False] == seen[True]
    if method is MaskMethod.NULL:
        assert set(seen[False]) == {None}


@pytest.mark.parametrize("kind", [kind for kind in VALUES if kind not in DOMAINS])
def test_redaction_shows_what_statements_show(connection: psycopg.Connection, kind: str) -> None:
    """The constant in a result and the one that is written into statements are one value, for values and for NULL."""
    index = list(VALUES).index(kind)
    analyzer = Analyzer()
    planned = analyzer.mask(analyzer.statement(f"SELECT v FROM t{index} LIMIT 1"),
                            (ColumnMask((f"t{index}.v",), MaskMethod.REDACT),), snapshot(connection), SessionNames())
    assert isinstance(planned, Masked)
    for binary in (False, True):
        at_source = run(connection, planned.text, binary=binary)
        column = ColumnType(at_source.ftype(0), at_source.fmod(0))
        mask = value_mask(terms(MaskMethod.REDACT), column, binary, KEYS)
        assert mask.replace(b"anything") == mask.null
        if binary or kind not in REFORMATTED:
            assert mask.null == at_source.get_value(0, 0)


def test_partial_shows_what_statements_show(connection: psycopg.Connection) -> None:
    """`partial` computed here and by the server is the same, for every textual type and length."""
    kinds = ("text", "varchar", "varchar(3)", "varchar(12)", "char(20)", "name")
    values = ("ann@example.com", "219-09-9999", "short", "", "@handle-long", "a@b@c", "Jörg Müller", "ä@ö.de", "        x",
              "ann@example.com SSN 219-09-9999 pin 4711", "p@ssw0rd-hunter2", "ann@example.com\n", "a@b.c\na@b.cd", "a\n@b.cd",
              "a.b+c_d'e@x-y.example.org", "a@b..org", "a@.org", "a@b.o1", "a@b.org.", "a b@c.org", "a@b.\u212aom", "ſ@b.ſom",
              "\x7f@b.org", "\t@b.org", '"a"@b.org', "a\\@b.org", "a@B.ORG", "a@b.org@c.org")
    for kind in kinds:
        connection.execute(f"create table partial (id serial, v {kind})".encode())
        for value in values:
            connection.execute(f"insert into partial(v) values (%s::{kind})".encode(), [value])
        analyzer = Analyzer()
        planned = analyzer.mask(analyzer.statement("SELECT v FROM partial ORDER BY id"),
                                (ColumnMask(("partial.v",), MaskMethod.PARTIAL),), snapshot(connection), SessionNames())
        assert isinstance(planned, Masked)
        at_source, raw = run(connection, planned.text), run(connection, "select v from partial order by id")
        mask = value_mask(terms(MaskMethod.PARTIAL), ColumnType(raw.ftype(0), raw.fmod(0)), False, KEYS)
        for row in range(raw.ntuples):
            value = raw.get_value(row, 0)
            assert value is not None
            assert mask.replace(value) == at_source.get_value(row, 0), (kind, value)
        connection.execute("drop table partial")


def test_json_by_path_stays_json(connection: psycopg.Connection) -> None:
    """What a path hides is gone, the rest is as it was, and the server takes it back in both formats."""
    document = ('{"ssn": "219-09-9999", "pay": 98765.4321, "vip": true, "none": null, "kept": 1.10, "items": '
                '[{"ssn": "078-05-1120", "n": 1}, {"n": 2}]}')
    paths = frozenset(("$.ssn", "$.pay", "$.vip", "$.none", "$.items[*].ssn"))
    for kind in ("json", "jsonb"):
        for method in MaskMethod:
            for binary in (False, True):
                value = run(connection, f"select '{document}'::{kind}", binary=binary)
                column = ColumnType(value.ftype(0), value.fmod(0))
                raw = value.get_value(0, 0)
                assert raw is not None
                new = value_mask(MaskTerms(method, b"task", "pii", paths), column, binary, KEYS).replace(raw)
                assert new is not None
                back = run(connection, "select $1", [new], column.oid, binary)
                assert back.get_value(0, 0) == new
                assert b'"kept": 1.10' in new
                assert b'"n": 2' in new
                assert not any(word in new for word in (b"219-09", b"078-05", b"98765", b"true"))

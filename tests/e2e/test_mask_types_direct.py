"""Every type's mask is a valid value of the type, in text and in binary, and keeps the column's type."""

from __future__ import annotations

import psycopg

from lockgate.analysis.sql import Analyzer, Masked, SessionNames
from lockgate.model import ColumnMask, MaskMethod
from testbed.noninterference.databases import snapshot
from testbed.postgres import embedded

TYPES = """
int2 int4 int8 numeric numeric(6,2) float4 float8 money oid boolean date timestamp timestamp(3) timestamptz time timetz
interval uuid json jsonb bytea inet cidr macaddr macaddr8 text varchar varchar(2) varchar(40) char char(3) name "char"
text[] int4[] jsonb[] int4range tstzrange int4multirange bit(3) varbit(5) point box line path polygon circle lseg
tsvector tsquery pg_lsn xid regclass mood pair short xid8 jsonpath
""".split()


def test_masks_are_valid_for_their_types() -> None:
    """The masked column decodes in the server and in psycopg, and its type OID and modifier stay."""
    with embedded() as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create type mood as enum ('a'); create type pair as (a int, b text);"
                           "create domain short as text check (length(value) < 3)")
        columns = ", ".join(f"c{number} {name}" for number, name in enumerate(TYPES))
        connection.execute(f"create table typed (id int, {columns})".encode())
        connection.execute("insert into typed(id) values (1)")
        catalogue = snapshot(connection)
        text = "SELECT " + ", ".join(f"c{number}" for number in range(len(TYPES))) + " FROM typed"
        for method in MaskMethod:
            analyzer = Analyzer()
            planned = analyzer.mask(analyzer.statement(text), (ColumnMask(("typed.c*",), method),), catalogue,
                                    SessionNames())
            assert isinstance(planned, Masked)
            for binary in (False, True):
                plain = connection.execute(text.encode(), binary=binary)
                masked = connection.execute(planned.text.encode(), binary=binary)
                row = masked.fetchone()
                assert row is not None
                assert plain.description is not None
                assert masked.description is not None
                assert [column.type_code for column in masked.description] == \
                    [column.type_code for column in plain.description]
                assert [column._fmod for column in masked.description] == [column._fmod for column in plain.description]
                if method is MaskMethod.NULL:
                    assert set(row) == {None}


def test_partial_masks() -> None:
    """`partial` shows an e-mail's first letter and domain, the last four of long texts, nothing of short ones."""
    values = {"ann@example.com": "axxx@example.com", "219-09-9999": "xxxx9999", "short": "xxxx", "": "xxxx", None: None,
              "@handle-long": "xxxxlong", "a@b@c": "xxxx", "me@b.org pin 4711": "xxxx4711", "p@ss-hunter2": "xxxxter2",
              "ann@example.com\n": "xxxxcom\n", "ann@[10.0.0.1]": "xxxx0.1]"}
    with embedded() as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("create table p (id serial, v varchar(20))")
        for value in values:
            connection.execute("insert into p(v) values (%s)", [value])
        catalogue = snapshot(connection)
        analyzer = Analyzer()
        planned = analyzer.mask(analyzer.statement("SELECT v FROM p ORDER BY id"),
                                (ColumnMask(("p.v",), MaskMethod.PARTIAL),), catalogue, SessionNames())
        assert isinstance(planned, Masked)
        assert [row[0] for row in connection.execute(planned.text.encode()).fetchall()] == list(values.values())

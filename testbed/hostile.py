"""Statements that are made to hurt whoever reads them; every one has to be refused.

Shared by `tests/e2e/test_hostile.py` (nothing of them reaches a backend) and `bench/hostile.py` (what refusing
them costs). They are written for the schema of `tests/e2e/conftest.py` with its masks. Each begins with a
mark where its form allows, so that a backend's log can be searched for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MARK: Final = "hostile_mark"
"""A name that occurs in every statement that has room for one."""

_S: Final = f"SELECT {MARK}, "
_SET: Final = "; SET client_encoding TO latin1"


def _repeated(unit: str, count: int, between: str = ",") -> str:
    return between.join([unit] * count)


def _nested(opening: str, inner: str, closing: str, depth: int) -> str:
    return opening * depth + inner + closing * depth


def _conditions(depth: int) -> str:
    """OR and AND in turn, with much at the bottom that is compared at every level."""
    condition = f"a IN ({_repeated('b', 3_000)})"
    for number in range(depth):
        condition = f"({condition} OR c{number} = d) AND e = f"
    return condition


def _ctes(count: int) -> str:
    """WITH queries of which each reads all before it."""
    made = [f"c{number} AS (SELECT 1 FROM c{max(number - 1, 0)})" for number in range(count)]
    return f"WITH {MARK} AS (SELECT 1), " + ", ".join(made) + " SELECT 1"


TOO_LARGE: Final = "54000"
TOO_COMPLEX: Final = "54001"
SYNTAX: Final = "42601"
REPERTOIRE: Final = "22021"
REFUSED: Final = "42501"

_LARGE: Final = {
    "1 MB of words": _S + "word " * 210_000,
    "1 MB in one string": f"{_S}'{'x' * 1_048_576}'",
    "1 MB in one name": f'{_S}"{"x" * 1_048_576}"',
    "1 MB of blanks": _S + " " * 1_048_576 + "1",
    "1 MB of comment": f"{_S}/*{'x' * 1_048_576}*/ 1",
    "a million digits": _S + "9" * 1_000_000,
    "a list of 100,000 numbers": f"SELECT 1 FROM {MARK} WHERE a IN (" + ",".join(map(str, range(100_000))) + ")",
    "a list of 40,000 numbers": f"SELECT 1 FROM {MARK} WHERE a IN (" + ",".join(map(str, range(40_000))) + ")",
    "a list of 120,000 digits": f"SELECT 1 FROM {MARK} WHERE a IN ({_repeated('1', 120_000)})",
    "a list of 80,000 strings": f"SELECT 1 FROM {MARK} WHERE a IN ({_repeated(chr(39) * 2, 80_000)})",
    "a list of 40,000 strings": f"SELECT 1 FROM {MARK} WHERE a IN ({_repeated(chr(39) * 2, 40_000)})",
    "a list of names in quotes": _S + _repeated('"a"', 60_000),
    "a list of columns": _S + _repeated("a", 100_000),
    "a list of parameters": _S + _repeated("$1", 65_535),
    "50,000 rows of VALUES": f"INSERT INTO {MARK} VALUES {_repeated('(1)', 50_000)}",
    "10,000 ORs": f"SELECT 1 FROM {MARK} WHERE {_repeated('a=1', 10_000, ' OR ')}",
    "15,000 UNIONs": f"SELECT {MARK} {_repeated('UNION SELECT 1', 15_000, ' ')}",
    "20,000 joins": f"SELECT 1 FROM {MARK} {_repeated('CROSS JOIN t', 20_000, ' ')}",
    "25,000 statements": f"SELECT {MARK};" + "SELECT 1;" * 25_000,
    "200,000 semicolons": f"SELECT {MARK}" + ";" * 200_000,
    "200,000 brackets": _S + "(" * 200_000,
    "100,000 operators": _S + "a" + "||b" * 60_000,
    "a chain of names": _S + _repeated("a", 100_000, "."),
    "casts": _S + "a" + "::text" * 40_000,
    "array subscripts": _S + "a" + "[1]" * 60_000,
    "comments between tokens": _S + _repeated("1", 40_000, "/**/,"),
    "line comments": _S + _repeated("1", 60_000, ",--\n"),
    "nested comments": f"{_S} {_nested('/*', '', '*/', 60_000)} 1",
    "quotes": _S + "'" + "''" * 100_000 + "'" + _repeated("a", 25_000),
    "dollar quotes": _S + _repeated("$a$$a$", 36_000),
    "escapes that hide a chain": f"{_S} E'\\''" + "||a" * 80_000 + "||E'\\''",
    "a continued escape that hides a chain": f"{_S} E'a'\n'\\''" + "||a" * 80_000 + "||E'\\''",
    "a dollar quote that hides a chain": f"{_S} $$'$$" + "||a" * 80_000 + "||$$'$$",
    "typed constants": _S + _repeated("interval '1'", 15_000),
    "a table of 40,000 columns": f"CREATE TABLE {MARK} ({_repeated('a int', 40_000)})",
}
_DEEP: Final = {
    "10,000 brackets": _S + _nested("(", "1", ")", 10_000),
    "2,500 CASEs": _S + _nested("CASE WHEN a THEN ", "1", " END", 2_500),
    "2,500 sub-selects": f"SELECT {MARK} FROM " + _nested("(SELECT 1 FROM ", "t", ") x", 2_500),
    "2,500 EXISTS": f"SELECT {MARK} WHERE " + _nested("EXISTS (SELECT 1 WHERE ", "true", ")", 2_500),
    "4,000 calls": _S + _nested("f(", "1", ")", 4_000),
    "5,000 arrays": _S + "ARRAY" + _nested("[", "1", "]", 5_000),
    "6,000 NOTs": _S + "NOT " * 6_000 + "a",
    "9,000 signs": _S + "- " * 9_000 + "a",
    "6,500 concatenations": _S + "a" + "||b" * 6_500,
    "10,000 IS NULL": _S + "a" + " IS NULL" * 10_000,
    "6,000 UNIONs": f"SELECT {MARK} {_repeated('UNION SELECT 1', 6_000, ' ')}",
    "5,000 joins": f"SELECT 1 FROM {MARK} {_repeated('CROSS JOIN t', 5_000, ' ')}",
    "2,000 WITH queries": _ctes(2_000),
    "1,200 WITHs inside each other": f"SELECT {MARK} FROM " + _nested("(WITH c AS (SELECT 1) SELECT 1 FROM ", "c", ") x", 1_200),
    "6,000 IN lists": _S + "a" + " IN (1)" * 6_000,
}
_BROKEN: Final = {
    "an open dollar quote": f"{_S} $tag$ " + "x" * 200_000,
    "many open dollar quotes": f"{_S} " + " ".join(f"$t{number}$" for number in range(30_001)),
    "an open string": f"{_S} '" + "a, " * 80_000,
    "an open escape string": f"{_S} E'" + "\\'" * 100_000,
    "an open comment": f"{_S} /* " + "/* */ " * 10_000,
    "a wrong Unicode escape": f"{_S} U&'\\d800'",
    "a byte order mark": f"\ufeffSELECT {MARK}",
    "no-break spaces": f"SELECT\u00a0{MARK}",
    "other spaces": f"SELECT\u2003{MARK}\u30001",
    "a list without an end": f"SELECT 1 FROM {MARK} WHERE a IN ({_repeated('1', 20_000)}",
    "operators": f"{_S} 1 " + "@#" * 5_000 + " 1 2",
    "a number with letters": f"{_S} " + "1" * 50_000 + "abc",
}
_BYTES: Final = {
    "NUL in a string": f"{_S} 'a\0b'".encode(),
    "NUL and another statement": f"{_S} 1\0; DROP TABLE customers".encode(),
    "200,000 NULs": f"SELECT {MARK}".encode() + b"\0" * 200_000,
    "overlong slash": f"{_S} '".encode() + b"\xc0\xaf'",
    "overlong quote": f"{_S} '".encode() + b"\xe0\x80\xa7 OR 1=1'",
    "a surrogate": f"{_S} '".encode() + b"\xed\xa0\x80'",
    "beyond Unicode": f"{_S} '".encode() + b"\xf4\x90\x80\x80'",
    "a cut character": f"{_S} '".encode() + b"\xe2\x82'",
    "Latin-1": f"{_S} 'caf".encode() + b"\xe9'",
    "nothing but 0xFF": f"{_S} ".encode() + b"\xff" * 200_000,
}
_FORBIDDEN: Final = {
    "escapes off": "SET standard_conforming_strings = off",
    "escapes off for a transaction": "BEGIN; SET LOCAL standard_conforming_strings TO off",
    "escapes off by function": "SELECT set_config('standard_conforming_strings', 'off', false)",
    "escapes off by an escaped name": r"SELECT set_config(E'standard\x5fconforming_strings', 'off', false)",
    "a setting without a constant name": "SELECT set_config('standard_' || 'conforming_strings', 'off', false)",
    "a setting from a table": "SELECT set_config(word, 'off', false) FROM plain",
    "another encoding": "SET client_encoding TO latin1",
    "another encoding by NAMES": "SET NAMES 'SJIS'",
    "another encoding, quoted": 'SET "client_encoding" = \'BIG5\'',
    "another encoding for a role": "ALTER ROLE app SET client_encoding = 'GBK'",
    "another encoding for a database": "ALTER DATABASE crm SET client_encoding = 'GBK'",
    "another encoding for all": "ALTER SYSTEM SET client_encoding = 'GBK'",
    "escaped quotes": "SET backslash_quote = on",
    "settings as a table": "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
    "encoding behind much": _S + _repeated("a", 9_000) + _SET,
    "encoding behind conditions": f"DELETE FROM notes WHERE {_conditions(60)}{_SET}",
    "encoding behind rows in rows": f"DELETE FROM notes WHERE ({_repeated('a', 3_000)}) IN ({_repeated('(b, c)', 1_500)}){_SET}",
    "encoding behind ORs": f"DELETE FROM notes WHERE a <> 2 OR {_repeated('a = 1', 4_000, ' OR ')}{_SET}",
    "encoding behind PREPAREs": "".join(f"PREPARE p{number} AS SELECT 1;" for number in range(60)) + _SET[2:],
    "encoding behind a MERGE": "MERGE INTO notes USING plain ON a = b "
                               + "WHEN MATCHED THEN UPDATE SET body = word " * 2_000 + _SET,
}
_MASKED: Final = {
    "5,000 masked tables": f"SELECT {MARK} FROM " + _repeated("customers", 5_000),
    "3,700 masked statements": f"SELECT '{MARK}';" + "TABLE customers;" * 3_700,
    "2,000 deletes that give back": f"SELECT '{MARK}';" + "DELETE FROM customers WHERE id = 1 RETURNING id;" * 2_000,
    "2,100 indexes on a masked table": f"SELECT '{MARK}';" + "CREATE INDEX ON customers(id);" * 2_100,
    "2,500 copies of a masked table": f"SELECT '{MARK}';" + "COPY customers TO STDOUT;" * 2_500,
}
_BLOCKS: Final = {
    "a block of 3,500 statements": f"DO $x$ BEGIN /* {MARK} */ " + "PERFORM 1; " * 3_500 + "END $x$",
    "1,600 blocks": f"SELECT {MARK}; " + "DO $x$ BEGIN PERFORM 1; END $x$; " * 1_600,
    "100 blocks inside each other": "".join(f"DO $a{level}$ BEGIN " for level in range(100)) + f"PERFORM {MARK}; " * 300
                                    + "".join(f" END $a{level}$; " for level in reversed(range(100))),
    "a block that changes 1,500 rows": f"DO $x$ BEGIN /* {MARK} */ " + "INSERT INTO notes VALUES (1); " * 1_500 + "END $x$",
}
_MANY_PREPARES: Final = "".join(f"PREPARE {MARK}{number} AS SELECT 1;" for number in range(2_000))


def _of(texts: Mapping[str, str], *states: str) -> dict[str, tuple[bytes, tuple[str, ...]]]:
    return {name: (text.encode("utf-8", "surrogatepass"), states) for name, text in texts.items()}


INPUTS: Final[Mapping[str, tuple[bytes, tuple[str, ...]]]] = {
    **_of(_LARGE, TOO_LARGE),
    **_of(_DEEP, TOO_COMPLEX),
    **_of(_BROKEN, SYNTAX, TOO_LARGE),
    **{name: (raw, (REPERTOIRE,)) for name, raw in _BYTES.items()},
    **_of(_FORBIDDEN, REFUSED),
    **_of(_MASKED, TOO_LARGE),
    **_of(_BLOCKS, REFUSED),
    **_of({"2,000 PREPAREs": _MANY_PREPARES}, TOO_COMPLEX),
}
"""Name → the bytes of the statement and the SQLSTATEs of which it is refused with one."""

"""The tables, how they come to be, and what a server must be so that an acknowledged record is a kept one.

A gateway's role needs no right to change what is written: `statements` is the SQL that an
administrator runs once, with exactly the rights that are needed. Where the role may create schemas
(a test, a first look) the gateway makes the tables itself, under an advisory lock.
"""

from __future__ import annotations

from typing import Any, Final

from lockgate.audit.storage.database.connection import Connection
from lockgate.errors import AuditError

OLDEST: Final = 140_000             # PostgreSQL 14
LOCK: Final = 0x6C6F636B67617465   # "lockgate", for pg_advisory_xact_lock
_DURABLE: Final = {
    "fsync": (("on",), "a crash of the machine would lose or tear what was acknowledged"),
    "full_page_writes": (("on",), "a crash of the machine could leave torn pages behind"),
    "data_sync_retry": (("off",), "the server would go on after a failed fsync, whose pages may be gone"),
}
SYNCHRONOUS: Final = ("on", "remote_apply", "remote_write")
"""Values of ``synchronous_commit`` under which COMMIT returns after the server's own flush (manual, 20.5.1)."""

_FIRST: Final = """\
CREATE TABLE lockgate_audit.store (format integer NOT NULL);
CREATE TABLE lockgate_audit.shards (shard integer PRIMARY KEY CHECK (shard >= 0), origin text NOT NULL UNIQUE,
  holder text NOT NULL DEFAULT '', epoch bigint NOT NULL DEFAULT 0,
  expires timestamptz NOT NULL DEFAULT '-infinity');
CREATE TABLE lockgate_audit.meta (shard integer, name text, value bytea NOT NULL, PRIMARY KEY (shard, name));
CREATE TABLE lockgate_audit.head (shard integer PRIMARY KEY, size bigint NOT NULL, epoch bigint NOT NULL,
  frontier bytea NOT NULL, note text NOT NULL) WITH (fillfactor = 20);
CREATE TABLE lockgate_audit.entries (shard integer, idx bigint, hash bytea NOT NULL, leaf bytea NOT NULL,
  PRIMARY KEY (shard, idx));
CREATE TABLE lockgate_audit.payload_keys (shard integer, idx bigint, secret bytea NOT NULL, PRIMARY KEY (shard, idx));
CREATE TABLE lockgate_audit.payloads (shard integer, idx bigint, sealed bytea NOT NULL, PRIMARY KEY (shard, idx));
ALTER TABLE lockgate_audit.payloads ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE TABLE lockgate_audit.sessions (shard integer, sid text, first bigint NOT NULL, last bigint,
  PRIMARY KEY (shard, sid));
CREATE INDEX ON lockgate_audit.sessions (shard, first) WHERE last IS NULL;
CREATE TABLE lockgate_audit.checkpoints (shard integer, size bigint, note text NOT NULL, frontier bytea NOT NULL,
  epoch bigint NOT NULL, PRIMARY KEY (shard, size));
"""
_SECOND: Final = """\
CREATE TABLE lockgate_audit.recordings (shard integer, sid text, stream text, number integer CHECK (number >= 0),
  chunk bytea NOT NULL, made timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (shard, sid, stream, number));
ALTER TABLE lockgate_audit.recordings ALTER COLUMN chunk SET STORAGE EXTERNAL;
CREATE TABLE lockgate_audit.cursors (shard integer, name text, cursor bytea NOT NULL, PRIMARY KEY (shard, name));
"""
_STEPS: Final = (_FIRST, _SECOND)
"""Each takes the tables from one format to the next."""
FORMAT: Final = len(_STEPS)
_TABLES: Final = 11

_STAMP: Final = f"INSERT INTO lockgate_audit.store VALUES ({FORMAT});\n"  # noqa: S608 - a constant
_RESTAMP: Final = f"UPDATE lockgate_audit.store SET format = {FORMAT};\n"  # noqa: S608 - a constant
_RIGHTS: Final = """\
GRANT USAGE ON SCHEMA lockgate_audit TO {role};
GRANT SELECT, INSERT ON lockgate_audit.shards, lockgate_audit.meta, lockgate_audit.head, lockgate_audit.entries,
  lockgate_audit.payload_keys, lockgate_audit.payloads, lockgate_audit.sessions, lockgate_audit.checkpoints TO {role};
GRANT SELECT ON lockgate_audit.store TO {role};
GRANT UPDATE ON lockgate_audit.head TO {role};
GRANT UPDATE (last) ON lockgate_audit.sessions TO {role};
GRANT UPDATE (holder, epoch, expires) ON lockgate_audit.shards TO {role};
GRANT DELETE ON lockgate_audit.payload_keys, lockgate_audit.payloads TO {role};
GRANT SELECT, INSERT, DELETE ON lockgate_audit.recordings TO {role};
GRANT SELECT, INSERT, UPDATE ON lockgate_audit.cursors TO {role};
"""
_READING: Final = """\
GRANT USAGE ON SCHEMA lockgate_audit TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA lockgate_audit TO {role};
"""


def statements(role: str, *, auditor: str | None = None, since: int = 0) -> str:
    """The SQL that makes the tables and lets `role` write and `auditor` read them, and nothing more; `since` a format:
    what is new after it.
    """
    made = "BEGIN;\n" + ("CREATE SCHEMA lockgate_audit;\n" if not since else "") + "".join(_STEPS[since:])
    made += (_STAMP if not since else _RESTAMP) + _RIGHTS.format(role=_quoted(role))
    if auditor is not None:
        made += _READING.format(role=_quoted(auditor))
    return made + "COMMIT;\n"


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


def require_durable(connection: Connection) -> None:
    """Raise `AuditError` for a server on which a commit that returned may still be lost."""
    found = connection.rows(
        "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,"
        " current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,"
        " current_setting('data_sync_retry') AS data_sync_retry")[0]
    if found["version"] < OLDEST:
        raise AuditError(f"{connection.address}: PostgreSQL {found['version'] // 10_000} is too old for the audit log",
                         advice="use PostgreSQL 14 or later")
    if found["standby"]:
        raise AuditError(f"{connection.address}: the server is a standby, which takes no records")
    for name, (good, why) in _DURABLE.items():
        if found[name] not in good:
            raise AuditError(
                f"{connection.address}: {name} is {found[name]}: {why}, so no record would be durable",
                advice=f"set {name} = {good[0]} in the server's configuration; the audit log takes nothing less")


def require_tables(connection: Connection) -> None:
    """Raise `AuditError` unless the tables are there, of this format, and written to the server's log.

    Made where they are missing and the role may do so.
    """
    if _format(connection) != FORMAT:
        connection.run(_migrate(connection))
    unlogged = connection.value(
        "SELECT count(*) FILTER (WHERE relpersistence <> 'p') + abs(count(*) - $1) FROM pg_catalog.pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'lockgate_audit'::regnamespace", _TABLES)
    if unlogged:
        raise AuditError(f"{connection.address}: the tables of the audit log are not the ones that Lockgate made",
                         advice="UNLOGGED tables lose their rows in a crash")


def _format(connection: Connection) -> int:
    if connection.value("SELECT to_regclass('lockgate_audit.store')") is None:
        return 0
    found = connection.value("SELECT format FROM lockgate_audit.store")
    if type(found) is not int or found > FORMAT:
        raise AuditError(f"{connection.address}: the tables of the audit log are of a later format ({found})",
                         advice="use the version of Lockgate that made them, or a later one")
    return found


async def _migrate(connection: Connection) -> None:
    """From whatever format is there to this one, by one gateway at a time, as a whole or not at all."""
    raw: Any = connection.raw
    async with raw.transaction():
        await raw.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if await raw.fetchval("SELECT to_regclass('lockgate_audit.store')") is None:
            if not await raw.fetchval("SELECT has_database_privilege(current_database(), 'CREATE')"):
                raise AuditError(f"{connection.address}: the tables of the audit log are missing",
                                 advice="let an administrator run what `lockgate audit sql` prints")
            await raw.execute("CREATE SCHEMA IF NOT EXISTS lockgate_audit")
            found = 0
        else:
            found = await raw.fetchval("SELECT format FROM lockgate_audit.store")
            if found < FORMAT and not await raw.fetchval(
                    "SELECT has_schema_privilege('lockgate_audit', 'CREATE')"):
                raise AuditError(f"{connection.address}: the tables of the audit log are of an earlier format ({found})",
                                 advice=f"let an administrator run what `lockgate audit sql --since {found}` prints")
        for step in _STEPS[found:]:
            await raw.execute(step)
        if found == 0:
            await raw.execute("INSERT INTO lockgate_audit.store VALUES ($1)", FORMAT)
        elif found < FORMAT:
            await raw.execute("UPDATE lockgate_audit.store SET format = $1", FORMAT)

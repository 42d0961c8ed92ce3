"""The log as one table, and the views over it that people ask questions of.

Rows go in by batches, so that memory does not grow with the log; the leaf stays whole beside its columns,
as the stored text, and the views read it with DuckDB's JSON functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import duckdb
import orjson

from lockgate.audit.export.told import Leaf, read_leaf
from lockgate.audit.reader import open_payload
from lockgate.audit.storage.contract import Source

_BATCH: Final = 2_000       # leaves
_BYTES: Final = 8 * 1024 * 1024
_OWN: Final = 9             # columns that differ from entry to entry

COLUMNS: Final = {
    "shard": ("INTEGER", "In a fleet, the log's number; else NULL."),
    "index": ("BIGINT", "The entry's number in its log."), "hash": ("VARCHAR", "The leaf hash, hex."),
    "time": ("TIMESTAMP", "UTC."), "type": ("VARCHAR", "The kind of record."),
    "node": ("VARCHAR", "The process that wrote it."), "sid": ("VARCHAR", "The session, where it is of one."),
    "sseq": ("BIGINT", "The record's number in its session."), "leaf": ("JSON", "The leaf as it is hashed."),
    "payload": ("JSON", "What it committed to, with `--payloads` and where it is there."),
}
"""Columns of `leaves`."""

VIEWS: Final = {
    "sessions": """
        SELECT b.shard, b.sid, b.time AS begun, e.time AS ended, b.leaf->>'connection' AS connection,
               b.leaf->>'protocol' AS protocol, b.leaf->>'principal' AS principal, e.leaf->>'cause' AS cause,
               (e.leaf->>'count')::BIGINT AS records, e.leaf->'coverage' AS coverage, b.index AS first, e.index AS last,
               b.payload AS payload
        FROM leaves b LEFT JOIN leaves e ON e.sid = b.sid AND e.shard IS NOT DISTINCT FROM b.shard
             AND e.type = 'session_end' WHERE b.type = 'session_begin'""",
    "requests": """
        SELECT i.shard, i.index, i.time, i.sid, i.sseq AS record, i.leaf->>'kind' AS kind,
               (i.leaf->'verbs')::VARCHAR[] AS verbs, (i.leaf->'objects')::VARCHAR[] AS objects,
               i.leaf->>'decision' AS decision, (i.leaf->'rules')::VARCHAR[] AS rules, i.leaf->>'refusal' AS refusal,
               i.leaf->>'ticket' AS ticket, o.leaf->>'status' AS status, o.leaf->>'code' AS code,
               (o.leaf->>'rows')::BIGINT AS rows, (o.leaf->>'sent')::BIGINT AS sent,
               (o.leaf->>'duration')::BIGINT AS microseconds, o.index AS outcome, i.payload AS payload
        FROM leaves i LEFT JOIN leaves o
             ON o.type = 'outcome' AND o.sid = i.sid AND o.shard IS NOT DISTINCT FROM i.shard
                AND (o.leaf->>'record')::BIGINT = i.sseq
        WHERE i.type = 'intent'""",
    "masked": """
        SELECT o.shard, o.index, o.time, o.sid, (o.leaf->>'record')::BIGINT AS record, m.key AS detector,
               m.value::BIGINT AS hidden
        FROM leaves o, json_each(o.leaf, '$.masked') m WHERE o.type = 'outcome'""",
    "reviews": """
        SELECT a.leaf->>'$.data.ticket' AS ticket, a.time AS asked, d.time AS decided,
               d.leaf->>'$.data.verdict' AS verdict, a.leaf->>'requester' AS requester, d.leaf->>'reviewer' AS reviewer,
               a.leaf->>'$.data.connection' AS connection, a.leaf->>'$.data.binding' AS binding, a.sid,
               a.shard, a.index AS request, d.shard AS review_shard, d.index AS review
        FROM leaves a LEFT JOIN leaves d
             ON d.type = 'review' AND d.leaf->>'$.data.ticket' = a.leaf->>'$.data.ticket'
        WHERE a.type = 'review_request'""",
    "acts": """
        SELECT shard, index, time, type, leaf->>'requester' AS requester, leaf->>'reviewer' AS reviewer, leaf->'data' AS data,
               payload
        FROM leaves WHERE sid IS NULL AND type NOT IN ('node_start', 'node_stop', 'heartbeat', 'review')""",
    "nodes": """
        SELECT shard, index, time, type, node, (leaf->>'epoch')::BIGINT AS epoch, leaf->>'version' AS version,
               (leaf->>'sessions')::BIGINT AS sessions, leaf->'data' AS data
        FROM leaves WHERE type IN ('node_start', 'node_stop', 'heartbeat')""",
}
"""View → its query."""

_FILL: Final = ("INSERT INTO leaves SELECT $10::INTEGER, index, hash, make_timestamp(ms * 1000), type, node, sid, sseq, leaf, payload"
                " FROM (SELECT unnest($1::BIGINT[]) AS index, unnest($2::VARCHAR[]) AS hash, unnest($3::BIGINT[]) AS ms,"
                " unnest($4::VARCHAR[]) AS type, unnest($5::VARCHAR[]) AS node, unnest($6::VARCHAR[]) AS sid,"
                " unnest($7::BIGINT[]) AS sseq, unnest($8::VARCHAR[]) AS leaf, unnest($9::VARCHAR[]) AS payload)")


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """The empty table and its views."""
    columns = ", ".join(f'"{name}" {kind}' for name, (kind, _) in COLUMNS.items())
    connection.execute(f"CREATE TABLE leaves ({columns})")
    for name, query in VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")


def fill(
    connection: duckdb.DuckDBPyConnection, source: Source, first: int = 0, last: int | None = None, *,
    shard: int | None = None, payloads: bool = False,
) -> int:
    """Add the entries from `first` to `last` included of one log; how many there were. Raises `AuditError` for a damaged one."""
    count = 0
    for columns in _batches(source, first, last, payloads=payloads):
        connection.execute(_FILL, [*columns, shard])
        count += len(columns[0])
    return count


def _batches(source: Source, first: int, last: int | None, *, payloads: bool) -> Iterator[list[list[Any]]]:
    columns: list[list[Any]] = [[] for _ in range(_OWN)]
    size = 0
    for row in source.leaves(first, last):
        leaf = read_leaf(*row)
        payload = _payload(source, leaf) if payloads else None
        record = leaf.record
        for column, value in zip(columns, (
            leaf.index, leaf.hash.hex(), record["time"], record["type"], record["node"], record.get("sid"),
            record.get("sseq"), leaf.text.decode(), payload,
        ), strict=True):
            column.append(value)
        size += len(leaf.text) + len(payload or "")
        if len(columns[0]) >= _BATCH or size >= _BYTES:
            yield columns
            columns, size = [[] for _ in range(_OWN)], 0
    if columns[0]:
        yield columns


def _payload(source: Source, leaf: Leaf) -> str | None:
    found = open_payload(source, leaf.index, leaf.record)
    return orjson.dumps(found.content).decode() if found.state == "open" else None

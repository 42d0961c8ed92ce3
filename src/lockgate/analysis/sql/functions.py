"""Which functions may be called without the statement becoming opaque.

`builtin_names` is data from real servers; this file is the judgement. An immutable built-in is a
function of its arguments. Stable and volatile ones are admitted only where their result does not
depend on rows of user tables, statistics or other sessions' statements (manual, "System
Information Functions", "XML Functions", "Large Objects"). Everything else is opaque: its effect
is unknown, so it counts as every effect.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.analysis.sql.builtin_names import IMMUTABLE, STABLE, VOLATILE

_STABLE_REFUSED: Final = re.compile(
    r"(?:database|schema|table|query|cursor)_to_xml|pg_cursor$|pg_prepared_statement$|pg_event_trigger"
    r"|pg_get_replication_slots|pg_stat_get_(?:activity|backend_activity|wal_senders|wal_receiver|subscription"
    r"|progress_info|backend_client)|pg_mcv_list|pg_ls_|pg_read_|fmgr_|pg_stats_ext"
)
"""Stable built-ins that run a query given as text, read rows of a named relation, or show what other
sessions run."""

_VOLATILE_ADMITTED: Final = frozenset("""
array_sample array_shuffle clock_timestamp current_query currval gen_random_uuid lastval nextval
pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock
pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
pg_blocking_pids pg_collation_actual_version pg_current_wal_flush_lsn pg_current_wal_insert_lsn
pg_current_wal_lsn pg_database_collation_actual_version pg_database_size pg_indexes_size
pg_is_in_recovery pg_is_wal_replay_paused pg_last_wal_receive_lsn pg_last_wal_replay_lsn
pg_last_xact_replay_timestamp pg_lock_status pg_partition_ancestors pg_partition_tree
pg_relation_size pg_sequence_last_value pg_get_sequence_data pg_sleep pg_sleep_for pg_sleep_until
pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit pg_stat_get_xact_numscans
pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_inserted
pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated pg_table_size pg_tablespace_size
pg_total_relation_size pg_xact_commit_timestamp pg_xact_status random random_normal setseed
timeofday txid_status uuidv4 uuidv7
""".split())
"""Volatile built-ins whose effect is known and harmless. `nextval` moves a sequence and advisory
locks are held by the session; neither is an effect that a rule on data speaks of."""

_IMMUTABLE_REFUSED: Final = frozenset(("ts_rewrite", "pg_node_tree_in"))

ADMITTED: Final = frozenset(
    [name for name in IMMUTABLE if name not in _IMMUTABLE_REFUSED]
    + [name for name in STABLE if not _STABLE_REFUSED.search(name)]
    + [name for name in VOLATILE if name in _VOLATILE_ADMITTED]
    # grammar that libpg_query turns into calls, and newer or older servers' names
    + ["merge_action", "system_user", "xmlexists", "pg_collation_for", "nameeqtext"]
)
"""Built-in functions by name that leave a statement transparent."""

_BUILTIN: Final = frozenset((*IMMUTABLE, *STABLE, *VOLATILE))

INFORMATION_SCHEMA: Final = frozenset("""
_pg_expandarray _pg_index_position _pg_truetypid _pg_truetypmod _pg_char_max_length
_pg_char_octet_length _pg_numeric_precision _pg_numeric_precision_radix _pg_numeric_scale
_pg_datetime_precision _pg_interval_type
""".split())

FILES: Final = re.compile(r"^(?:pg_read_|pg_ls_|pg_stat_file|lo_import|lo_export|pg_rotate|pg_current_logfile)")
"""Functions that touch files of the server."""


def is_builtin(name: str) -> bool:
    """Whether a function of this name comes with PostgreSQL."""
    return name in _BUILTIN


def is_admitted(schema: str | None, name: str) -> bool:
    """Whether a call by this name, if it is the built-in, has a known and harmless effect."""
    if schema is None or schema == "pg_catalog":
        return name in ADMITTED
    return schema == "information_schema" and name in INFORMATION_SCHEMA

"""Built-in functions that return sets or rows: how many rows there are is then a matter of their arguments.

Data from `pg_proc` of PostgreSQL 15 and 18 (manual, "Set Returning Functions", "JSON Functions"). Apart from
`functions`, which judges effects. A function that is neither here nor a built-in of another kind may return
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lockgate.analysis.sql.builtin_names import IMMUTABLE, STABLE, VOLATILE
from lockgate.analysis.sql.functions import ADMITTED, INFORMATION_SCHEMA

BUILT_IN: Final = IMMUTABLE | STABLE | VOLATILE | ADMITTED

SETS: Final = frozenset("""
aclexplode generate_series generate_subscripts json_array_elements json_array_elements_text json_each
json_each_text json_object_keys json_populate_recordset json_to_recordset jsonb_array_elements
jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query jsonb_path_query_tz
jsonb_populate_recordset jsonb_to_recordset pg_available_extension_versions pg_available_extensions
pg_available_wal_summaries pg_config pg_cursor pg_event_trigger_ddl_commands
pg_event_trigger_dropped_objects pg_extension_update_paths pg_get_aios pg_get_backend_memory_contexts
pg_get_catalog_foreign_keys pg_get_keywords pg_get_loaded_modules pg_get_multixact_members
pg_get_publication_tables pg_get_replication_slots pg_get_shmem_allocations pg_get_shmem_allocations_numa
pg_get_wait_events pg_get_wal_resource_managers pg_hba_file_rules pg_ident_file_mappings
pg_listening_channels pg_lock_status pg_logical_slot_get_binary_changes pg_logical_slot_get_changes
pg_logical_slot_peek_binary_changes pg_logical_slot_peek_changes pg_ls_archive_statusdir pg_ls_dir
pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir
pg_ls_waldir pg_mcv_list_items pg_options_to_table pg_partition_ancestors pg_partition_tree
pg_prepared_statement pg_prepared_xact pg_show_all_file_settings pg_show_all_settings
pg_show_replication_origin_status pg_snapshot_xip pg_stat_get_activity pg_stat_get_backend_idset
pg_stat_get_backend_io pg_stat_get_io pg_stat_get_progress_info pg_stat_get_recovery_prefetch
pg_stat_get_slru pg_stat_get_subscription pg_stat_get_wal_senders pg_tablespace_databases
pg_timezone_abbrevs pg_timezone_abbrevs_abbrevs pg_timezone_abbrevs_zone pg_timezone_names
pg_wal_summary_contents regexp_matches regexp_split_to_table string_to_table ts_debug ts_parse ts_stat
ts_token_type txid_snapshot_xip unnest
""".split()) | frozenset(("_pg_expandarray",))

_SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
    # one column, named like the function or its alias
    **dict.fromkeys((
        "generate_series", "generate_subscripts", "json_object_keys", "jsonb_object_keys", "jsonb_path_query",
        "jsonb_path_query_tz", "regexp_matches", "regexp_split_to_table", "string_to_table",
    ), ()),
    **dict.fromkeys((
        "json_array_elements", "json_array_elements_text", "jsonb_array_elements", "jsonb_array_elements_text",
    ), ("value",)),
    **dict.fromkeys(("json_each", "json_each_text", "jsonb_each", "jsonb_each_text"), ("key", "value")),
    "_pg_expandarray": ("x", "n"),
    "aclexplode": ("grantor", "grantee", "privilege_type", "is_grantable"),
    "pg_options_to_table": ("option_name", "option_value"),
}
_SCALAR_TYPES: Final = frozenset((
    "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "name", "uuid", "date",
    "timestamp", "timestamptz", "oid", "json", "jsonb", "bytea", "inet",
))
_INDIRECT: Final = INFORMATION_SCHEMA - {"_pg_expandarray"}


def is_plain(name: str) -> bool:
    """Whether the built-in functions of this name give one value for each call."""
    return name not in SETS and (name in BUILT_IN or name in _INDIRECT)


def shape_of(name: str, arguments: list[dict[str, Any]]) -> tuple[str, ...] | None:
    """The columns of a call in FROM: () for one that is named after the call; None where they are not known."""
    if name == "unnest":
        return () if len(arguments) == 1 and _is_plain_array(arguments[0]) else None
    return _SHAPES.get(name)


def _is_plain_array(argument: dict[str, Any]) -> bool:
    """An array whose elements are no rows, as far as it can be told from the text: those of a row's type become
    its columns."""
    cast = argument.get("TypeCast")
    if cast is not None:
        kind = cast.get("typeName", {})
        names = [item.get("String", {}).get("sval", "") for item in kind.get("names", ())]
        return bool(kind.get("arrayBounds")) and names[-1:] != [] and names[-1] in _SCALAR_TYPES and (
            len(names) == 1 or names[-2] == "pg_catalog")
    array = argument.get("A_ArrayExpr")
    return array is not None and all("A_Const" in element for element in array.get("elements", ()))

"""The log as Parquet files, for whatever reads them: one file for each 65,536 entries, named by its range, and in a
fleet by its shard.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb

from lockgate.audit.query.portion import Portion
from lockgate.audit.query.tables import create, fill
from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.database.place import shard_folder
from lockgate.errors import AuditError

PART: Final = 65_536        # entries in one file


def write_parquet(
    portions: Sequence[Portion], folder: Path, *, payloads: bool = False, part: int = PART,
) -> dict[Path, int]:
    """Write these entries into a folder that is new or empty; the files, in order, and how many are in each.

    A file appears under its name when it is whole. Raises `AuditError`.
    """
    files: dict[Path, int] = {}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise AuditError(f"{folder}: is not empty", advice="give a folder that is new")
        for portion in portions:
            with portion.opened() as source:
                end = source.head().size if portion.last is None else min(portion.last + 1, source.head().size)
                files |= dict(_part(source, folder, portion.shard, begin, min(begin + part, end) - 1, payloads=payloads)
                              for begin in range(portion.first, end, part))
    except (OSError, duckdb.Error) as error:
        raise AuditError(f"{folder}: cannot be written: {error}") from None
    return files


def _part(source: Source, folder: Path, shard: int | None, first: int, last: int, *, payloads: bool) -> tuple[Path, int]:
    log = "leaves" if shard is None else shard_folder(shard)
    path = folder / f"{log}-{first:012}-{last:012}.parquet"
    temporary = folder / f".{path.name}.new"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = duckdb.connect(":memory:", config={"memory_limit": "1GiB", "threads": 2, "temp_directory": ""})
    try:
        create(connection)
        count = fill(connection, source, first, last, shard=shard, payloads=payloads)
        connection.table("leaves").write_parquet(
            str(temporary), compression="zstd", overwrite=True, use_tmp_file=False)     # into the file as it was made
    finally:
        connection.close()
    temporary.rename(path)
    return path, count

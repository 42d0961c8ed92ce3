"""The log as Parquet files, for whatever reads them: one file for each 65,536 entries, named by its range."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import duckdb

from lockgate.audit.query.tables import create, fill
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

PART: Final = 65_536        # entries in one file


def write_parquet(
    source: Source, folder: Path, first: int = 0, last: int | None = None, *, payloads: bool = False, part: int = PART,
) -> list[Path]:
    """Write the entries from `first` to `last`, by default all of the snapshot, into a folder that is new or empty;
    the files, in order.

    A file appears under its name when it is whole. Raises `AuditError`.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise AuditError(f"{folder}: is not empty", advice="give a folder that is new")
        end = source.head().size if last is None else last + 1
        return [_part(source, folder, begin, min(begin + part, end) - 1, payloads=payloads)
                for begin in range(first, end, part)]
    except (OSError, duckdb.Error) as error:
        raise AuditError(f"{folder}: cannot be written: {error}") from None


def _part(source: Source, folder: Path, first: int, last: int, *, payloads: bool) -> Path:
    path = folder / f"leaves-{first:012}-{last:012}.parquet"
    temporary = folder / f".{path.name}.new"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = duckdb.connect(":memory:", config={"memory_limit": "1GiB", "threads": 2, "temp_directory": ""})
    try:
        create(connection)
        fill(connection, source, first, last, payloads=payloads)
        connection.table("leaves").write_parquet(
            str(temporary), compression="zstd", overwrite=True, use_tmp_file=False)     # into the file as it was made
    finally:
        connection.close()
    temporary.rename(path)
    return path

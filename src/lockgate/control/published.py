"""The published log as HTTP sees it: which paths exist, and what their answers say about themselves.

C2SP tlog-tiles. A path is read as the name of a tile and written anew from it, so nothing outside the
layout can be named; what is read is bounded by what the tile may hold. The tiles are the publisher's:
nothing is computed here. Reads files, so it runs in a thread of its own.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockgate.audit.failures import Absent, MalformedEntry
from lockgate.audit.tiles.layout import CHECKPOINT, CHECKPOINT_LIMIT, COSIGNED, WIDTH, parse_path
from lockgate.audit.tiles.reader import fetch_from

_YEAR: Final = 31_536_000
_HOUR: Final = 3_600
_LEVEL: Final = 4       # of gzip: entries are JSON and shrink to a quarter


@dataclass(frozen=True, slots=True)
class Resource:
    """A body and its headers."""

    content: bytes
    headers: Mapping[str, str]


def read_published(folder: Path, path: str, *, compress: bool, shared: bool) -> Resource | None:
    """What is published below `folder` under exactly this path, or None.

    `compress` is whether the client takes gzip; `shared` whether caches between may keep the answer.
    Raises `AuditError` where a file is there and cannot be read.
    """
    tile = parse_path(path)
    if tile is None and path not in (CHECKPOINT, COSIGNED):
        return None
    fetch = fetch_from(folder)
    try:
        if tile is None:
            return Resource(fetch(path, CHECKPOINT_LIMIT), {
                "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"})
        content = fetch(tile.path, tile.limit)
    except (Absent, MalformedEntry):
        return None
    who = "public" if shared else "private"
    # A partial tile never changes either, but goes away once the full one is there.
    lasting = f"max-age={_YEAR}, immutable" if tile.width == WIDTH else f"max-age={_HOUR}"
    headers = {"Content-Type": "application/octet-stream", "Cache-Control": f"{who}, {lasting}"}
    if tile.level is None:
        headers["Vary"] = "Accept-Encoding"
        if compress:
            content = gzip.compress(content, _LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
    return Resource(content, headers)

"""What `lockgate audit erase` prints of a fleet: each shard's part, and for each that is left the command that goes on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lockgate.audit.custody import Erased, Forget
from lockgate.audit.erasing import Wish
from lockgate.audit.fleet.erasing import Part, erase_everywhere
from lockgate.audit.storage.database.place import shard_folder
from lockgate.cli.shown import clean


def erased_everywhere(base: Path, wish: Wish, forget: Forget) -> dict[str, Any]:
    """The answer of the command: the shards that were erased, and those that are `left`. Raises `AuditError`."""
    meant, parts = erase_everywhere(base, wish, forget)
    return {"shards": [{"shard": part.shard, **words_of(part.done)} for part in parts if part.done is not None],
            "left": [_left(meant, part) for part in parts if part.done is None]}


def words_of(done: Erased) -> dict[str, Any]:
    """What an erasure did, as JSON says it."""
    return {"leaves": list(done.leaves), "payloads": done.payloads, "recordings": done.recordings,
            "unfinished": list(done.unfinished), "is_scrubbed": done.is_scrubbed}


def _left(wish: Wish, part: Part) -> dict[str, Any]:
    command = ["lockgate", "audit", "erase", "--subject", wish.subject or "", "--issuer", wish.issuer or "",
               "--reason", wish.reason, "--state", f"state/audit/{shard_folder(part.shard)}"]
    return {"shard": part.shard, "payloads": part.payloads, "why": str(part.why),
            "advice": "" if part.why is None else part.why.advice(), "command": shlex.join(command)}


def left_lines(left: Sequence[dict[str, Any]]) -> list[str]:
    """For people: what is not erased yet, and what to do about it."""
    lines = []
    for one in left:
        lines += [f"NOT erased: {one['payloads']} payloads in {shard_folder(one['shard'])}: {clean(one['why'])}",
                  *([f" hint: {clean(one['advice'])}"] if one["advice"] else []), f"  {clean(one['command'])}"]
    return lines

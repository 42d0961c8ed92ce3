"""What `lockgate audit erase` does and prints of a fleet: each shard's part, or each gateway's answer, and for each that is
left the way there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lockgate.audit.custody import Erased, Forget
from lockgate.audit.erasing import NothingToErase, Wish
from lockgate.audit.fleet.erasing import Part, erase_everywhere
from lockgate.audit.storage.database.place import shard_folder
from lockgate.cli.calling import ApiError, call
from lockgate.cli.shown import clean
from lockgate.model import Secret

_ERASURES: Final = "/v1/audit/erasures"


def erased_everywhere(base: Path, wish: Wish, forget: Forget) -> dict[str, Any]:
    """The answer of the command: the shards that were erased, and those that are `left`. Raises `AuditError`."""
    meant, parts = erase_everywhere(base, wish, forget)
    return {"shards": [{"shard": part.shard, **words_of(part.done)} for part in parts if part.done is not None],
            "left": [_left(meant, part) for part in parts if part.done is None]}


def asked_of(urls: Sequence[str], token: Secret, words: dict[str, Any]) -> dict[str, Any]:
    """What the gateways at these control addresses answer to one request for an erasure. Of several each is asked, whatever
    another one says: who holds nothing has no `payloads`, who refuses is among the `left`. Raises `ApiError` where only one
    is asked, or none holds anything.
    """
    if len(urls) == 1:
        return dict(call(urls[0], _ERASURES, token, words))
    found: dict[str, Any] = {"gateways": [], "left": []}
    for url in urls:
        try:
            found["gateways"].append({"url": url, **call(url, _ERASURES, token, words)})
        except ApiError as error:
            if error.said == NothingToErase.code:
                found["gateways"].append({"url": url, "payloads": 0})
            else:
                found["left"].append({"url": url, "why": str(error), "advice": error.advice()})
    if not found["left"] and not any(answer["payloads"] for answer in found["gateways"]):
        raise ApiError(f"no payload of {words['subject']} is at any of these gateways, or none is left")
    return found


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
        what = f"{one['payloads']} payloads in {shard_folder(one['shard'])}" if "shard" in one else one["url"]
        lines += [f"NOT erased: {what}: {clean(one['why'])}", *([f" hint: {clean(one['advice'])}"] if one["advice"] else []),
                  *([f"  {clean(one['command'])}"] if "command" in one else [])]
    return lines

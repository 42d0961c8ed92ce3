"""The log that is attacked: a small one in which everything happens that the verifier has an opinion on.

0 start (erasures need two persons) · 1 begin a (alice) · 2 begin b (bob) · 3/4 a select · 5 b denied ·
6 a asks for T1 · 7 T1 approved by carol · 8/9 a deletes by T1 · 10 heartbeat · 11/12 b select ·
13 hold "case-7" on b's session · 14 ann asks for T2 · 15 T2 approved by carol · 16 erasure of 3 by T2 ·
17 hold "brief" on everything · 18 lifted · 19/20 marks of a's recording · 21 end a · 22 end b · 23 stop
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.checkpoint import Signer
from lockgate.audit.evidence.erasures import erasure_binding, erasure_link
from lockgate.audit.evidence.recordings import RECORDING_MAGIC
from lockgate.audit.evidence.salting import bound_to
from lockgate.audit.leaves import principal
from tests.unit.audit.logs import ORIGIN, chunk_root, sample
from tests.unit.audit.tampering.forge import Forge, Row

A, B = "a" * 16, "b" * 16
CHUNKS = [b"first chunk", b"second chunk", b"third chunk"]
NOW = 1_800_000_000_000
_PEOPLE = "https://issuer.test"


def honest(folder: Path) -> Path:
    """Written by the log itself and then continued by hand. Returns the folder."""
    sample(folder.with_name("sample"))
    forge = Forge(folder.with_name("sample"))
    for row in forge.rows:
        row.fields["time"] = NOW
    forge[0].fields["data"] = {"approvals": 2}
    forge.insert(13, *_disposal(forge), *_marks(forge))
    forge[3].is_kept = False
    forge[21].fields["coverage"] = {"state": "whole", "streams": 1, "chunks": 3, "bytes": 30, "reason": ""}
    for index, row in enumerate(forge.rows[17:], 1):
        row.fields["time"] += index * 1_000
    forge.write(folder)
    record(folder, CHUNKS)
    return folder


def another_signer(number: int = 1) -> Signer:
    """A key of the same name."""
    return Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def record(folder: Path, chunks: Sequence[bytes]) -> None:
    """The file of a's recording."""
    (folder / "recordings" / A).mkdir(parents=True, exist_ok=True)
    (folder / "recordings" / A / "sql.rec").write_bytes(recording(chunks))


def recording(chunks: Sequence[bytes]) -> bytes:
    """Chunks as they lie in a file."""
    return RECORDING_MAGIC + b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in chunks)


def who(forge: Forge, name: str) -> str:
    """A person's principal in this log."""
    return principal(forge.pseudonyms, _PEOPLE, name)


def body(**said: Any) -> dict[str, Any]:
    """The payload of an event."""
    return {"body": orjson.dumps(said).decode()}


def hold(forge: Forge, name: str, action: str, scope: Any = None) -> Row:
    """A legal hold's record."""
    data = {"hold": name, "action": action, **({} if scope is None else {"scope": scope})}
    return forge.new("legal_hold", body(requester=[_PEOPLE, "ann"], reason="litigation"), data=data)


def erasure(forge: Forge, ranges: list[list[int]], **data: Any) -> Row:
    """An erasure by T2."""
    said = {"cause": "record", "ranges": ranges, "approvals": 2, "ticket": "T2", "rest": "", "purpose": "why", "salt": "s", **data}
    return forge.new("erasure", body(requester=[_PEOPLE, "ann"], reviewer=[_PEOPLE, "carol"], reason="why"),
                     data=said, requester=who(forge, "ann"), reviewer=who(forge, "carol"))


def asked(forge: Forge, ticket: str, requester: str, reviewer: str, binding: str) -> list[Row]:
    """A review's two records."""
    data = {"ticket": ticket, "binding": binding, "connection": "crm"}
    people = {"requester": [_PEOPLE, requester], "reviewer": [None, None]}
    return [
        forge.new("review_request", body(**people), data=data, requester=who(forge, requester)),
        forge.new("review", body(**{**people, "reviewer": [_PEOPLE, reviewer]}), data={**data, "verdict": "approved"},
                  requester=who(forge, requester), reviewer=who(forge, reviewer)),
    ]


def bound_erasure(forge: Forge, ranges: list[tuple[int, int]]) -> str:
    """What the review of an erasure by ann is bound to."""
    return bound_to("s", erasure_binding(who(forge, "ann"), "why", erasure_link("record", ranges, "")))


def mark(forge: Forge, chunks: Sequence[bytes], *, final: bool = False, **data: Any) -> Row:
    """A mark of a's recording after so many chunks."""
    said = {"stream": "sql", "chunks": len(chunks), "bytes": 10 * len(chunks), "root": chunk_root(chunks).hex(),
            "final": final, **data}
    return forge.new("rec_mark", data=said, sid=A)


def _disposal(forge: Forge) -> list[Row]:
    return [
        hold(forge, "case-7", "set", {"session": B}),
        *asked(forge, "T2", "ann", "carol", bound_erasure(forge, [(3, 3)])),
        erasure(forge, [[3, 3]]),
        hold(forge, "brief", "set", {"all": True}),
        hold(forge, "brief", "lift"),
    ]


def _marks(forge: Forge) -> list[Row]:
    return [mark(forge, CHUNKS[:2]), mark(forge, CHUNKS, final=True)]

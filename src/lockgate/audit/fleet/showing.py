"""Every gateway's signer is shown what all of the fleet has signed, so that a take-over does not begin with a blank memory.

A signer in a process of its own refuses whatever takes back what it has signed. Of a shard that another
gateway writes it would know nothing. So it is asked to sign the newest checkpoint of each shard again,
which another signer with the same key has signed already, with the proof that it extends what this one
remembers: it remembers the larger tree then, and refuses a smaller one, or another history, when this gateway
takes the shard. And if a shard is not an extension of what it was, that is noticed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockgate.audit.checkpoint import open_note
from lockgate.audit.failures import Tampered
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.signing.contract import CheckpointSigner, SignerAway
from lockgate.audit.signing.opening import open_signer
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.tail import DatabaseTail, frontier_at
from lockgate.audit.tree import growth_proof
from lockgate.errors import AuditError

_HEADS: Final = ("SELECT s.shard, s.origin, h.size, h.note FROM shards s JOIN head h USING (shard) WHERE h.note <> ''"
                 " AND s.shard <> ALL($1::int[]) AND NOT (s.holder = $2 AND s.expires > clock_timestamp()) ORDER BY s.shard")


def show_heads(member: Membership) -> int:
    """Show this gateway's signer the logs that it does not write itself. Returns how many trees it had not seen.

    Does nothing for a signer without memory. Raises `AuditError`: the signer is away, or has not the key that a log goes
    on with, or (`Tampered`) a log is not what this signer remembers; the others are shown to it all the same.
    """
    if "socket" not in member.ring.signer:
        return 0
    faults: list[str] = []
    misfit: AuditError | None = None
    shown = 0
    with member.alone(), Connection(member.place) as connection:
        for shard, origin, size, note in connection.rows(_HEADS, [member.lease.shard], member.lease.holder):
            if not member.ring.fits(connection, shard):
                misfit = member.ring.misfit(shard)
                continue
            try:
                shown += _show(member, connection, shard, size, note)
            except SignerAway:
                raise
            except AuditError as error:
                faults.append(f"{origin}: {error}")
    if faults:
        raise Tampered(f"the fleet is not what this gateway's signer has seen: {'; '.join(faults)}", index=0, check="fleet")
    if misfit is not None:
        raise misfit
    return shown


def _show(member: Membership, connection: Connection, shard: int, size: int, note: str) -> int:
    folder = member.ring.lend(shard)
    signer: CheckpointSigner = open_signer(folder, member.ring.verifier(shard).name, member.ring.signer, may_create=False)
    checkpoint, last = open_note(note, signer.verifier), signer.last()
    if last is None:
        return 0
    if last.size > size:
        raise AuditError(f"{last.size} entries were signed, {size} are stored")
    if last.size and frontier_at(connection, shard, last.size).root() != last.root:
        raise AuditError(f"its first {last.size} entries are not those that were signed")
    if last.size >= checkpoint.size:
        return 0
    signer.sign(checkpoint, _proof(connection, shard, last.size, checkpoint.size))
    return 1


def _proof(connection: Connection, shard: int, old: int, new: int) -> Sequence[bytes]:
    base = frontier_at(connection, shard, old)
    if not old:
        return ()
    with DatabaseTail(connection, shard) as tail:
        return growth_proof(base, list(tail.hashes(old, new - 1)))

"""Erasure in a whole fleet: what is there of a person in each shard is found first, and then destroyed shard by shard.

A shard is written by one gateway alone, so from here only two kinds can be erased: the one of the gateway that runs
beside the command, and, while none runs, those that nobody holds. Nothing is destroyed anywhere where a hold forbids
it in one shard, or where it is not clear who is meant; what could not be reached is told, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lockgate.audit.admin import AdminRefused, recorded
from lockgate.audit.custody import Custody, Erased, Forget, Refused
from lockgate.audit.erasing import NothingToErase, Plan, Wish
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import read_pointer, shard_folder
from lockgate.audit.storage.database.shards import begun, holder_of
from lockgate.errors import AuditError


@dataclass(frozen=True, slots=True)
class Part:
    """What became of an erasure in one shard that holds something of the person."""

    shard: int
    payloads: int
    """How many were found there before."""
    done: Erased | None
    why: AuditError | None = None
    """Why nothing was erased there."""


def erase_everywhere(folder: Path, wish: Wish, forget: Forget) -> tuple[Wish, list[Part]]:
    """Destroy what the shards of the fleet hold of a subject; the wish with its issuer, and each shard's part.

    `folder` is the gateway's audit folder. Raises `AuditError`, and then nothing was erased: nothing is there, a hold
    forbids it, or several issuers know the subject.
    """
    plans = _plans(folder, wish)
    issuers = sorted({plan.person[0] for plan in plans.values() if plan.person is not None})
    if not plans:
        raise NothingToErase(f"no payload of {wish.subject} is in any shard of this fleet, or none is left")
    if len(issuers) > 1:
        raise AuditError(f"several issuers know a {wish.subject}: {', '.join(issuers)}", advice="say which one with --issuer")
    meant = replace(wish, issuer=issuers[0])
    return meant, [_part(folder, shard, meant, plan.payloads, forget) for shard, plan in plans.items()]


def _plans(folder: Path, wish: Wish) -> Mapping[int, Plan]:
    pointer = read_pointer(folder)
    if pointer is None:
        raise AuditError(f"{folder}: points to no database")
    with Connection(pointer.place) as connection:
        shards = begun(connection)
    plans = {}
    for shard in shards:
        try:
            plans[shard], _ = Custody(folder / shard_folder(shard), _reads_only).plan(wish)
        except NothingToErase:
            continue
    return plans


def _reads_only(_act: object) -> int:
    raise Refused("what is planned is not carried out here")


def _part(folder: Path, shard: int, wish: Wish, payloads: int, forget: Forget) -> Part:
    try:
        with recorded(folder / shard_folder(shard), forget) as log:
            return Part(shard, payloads, log.erase(wish))
    except AuditError as error:
        return Part(shard, payloads, None, _reason(folder, shard, error))


def _reason(folder: Path, shard: int, error: AuditError) -> AuditError:
    """Why a shard was not erased, in words that say who can: the gateway that has it, or none while one runs here."""
    pointer = read_pointer(folder)
    if pointer is None or pointer.shard == shard:
        return error
    with Connection(pointer.place) as connection:
        holder = holder_of(connection, shard)
    if holder:
        return Refused(f"the gateway {holder} writes it", advice="run this beside that gateway, on its machine:")
    if isinstance(error, AdminRefused):
        return Refused("no gateway holds it, and the one that runs here has another", advice=(
            "stop the gateway here for a moment, and run this again:"))
    return error

"""A whole fleet, held together: every shard as a log of its own, and all of them against the fleet log.

The fleet log is read first. Each of its leaves says what a shard's root was at some size; the shard,
read after it, must have exactly that root over its first leaves. So a shard that was cut, replaced,
forked or deleted contradicts a leaf of another log, under another head.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lockgate.audit.checkpoint import Checkpoint, Verifier
from lockgate.audit.entry import parse
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.report import Finding, Report, Verdict
from lockgate.audit.evidence.trust import Trust, key_of, ranges_of
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.fleet.witness import RECORD
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import FLEET, Pointer, shard_folder, shard_origin
from lockgate.audit.storage.database.recordings import DatabaseShelf
from lockgate.audit.storage.database.shards import begun
from lockgate.audit.storage.database.source import DatabaseSource
from lockgate.audit.verify import Expected, verify_source
from lockgate.errors import AuditError

_CHECK: Final = "fleet log"


def verify_fleet(
    pointer: Pointer, folder: Path, *, key: Path | None = None, against: str | None = None, only: int | None = None,
    trusts: Mapping[str, Trust] | None = None,
) -> list[Report]:
    """Check the fleet log and every shard, or `only` one of them. `folder` is the gateway's audit folder, `key`
    a pinned verifier key of any log of the fleet (they begin with one), `against` a checkpoint of one of them,
    `trusts` the organisation's trust notes by the logs' names, which then say for each log which keys count.

    Does not raise: what is wrong is in the reports.
    """
    try:
        verifier = None if trusts is not None else _verifier(pointer, key or folder / VERIFIER_FILE)
    except AuditError as error:
        return [_failed(folder, pointer.origin, Finding("key", Verdict.UNTRUSTED, str(error)))]
    run = _Fleet(pointer, folder, verifier, key is not None or trusts is not None, against, trusts or {})
    try:
        return run.all(only)
    except AuditError as error:
        return [_failed(folder, pointer.origin, Finding("store", Verdict.INCOMPLETE, str(error)))]


def _verifier(pointer: Pointer, path: Path) -> Verifier:
    verifier = read_verifier(path)
    if verifier.name.rpartition("/")[0] != pointer.origin:
        raise AuditError(f"{path}: is a key of {verifier.name}, not of the fleet {pointer.origin}")
    return verifier


def _failed(folder: Path, origin: str, finding: Finding) -> Report:
    return Report(str(folder), origin=origin, findings=[finding])


class _Fleet:
    """`verifier` is the key that the logs began with, or None where trust notes say which keys they have."""

    def __init__(
        self, pointer: Pointer, folder: Path, verifier: Verifier | None, pinned: bool, against: str | None,
        trusts: Mapping[str, Trust],
    ) -> None:
        self.pointer = pointer
        self.folder = folder
        self.verifier = verifier
        self.pinned = pinned
        self.against = against
        self.trusts = trusts
        self.expected: dict[str, list[Expected]] = {}
        self.first: dict[str, int] = {}
        self.named: dict[str, list[tuple[int, int, str]]] = {}
        """Keys of shards as the fleet log names them: the leaf's index, the size, and the key."""
        self.misnamed: list[Finding] = []

    def all(self, only: int | None) -> list[Report]:
        """The fleet log, then the shards: what they hold now is at least what it says."""
        with Connection(self.pointer.place) as connection:
            has_fleet_log = connection.value("SELECT size FROM head WHERE shard = $1", FLEET)
        fleet = self.fleet_log() if has_fleet_log else None
        with Connection(self.pointer.place) as connection:
            shards = begun(connection)
        reports = [self.log(shard) for shard in shards if only in (None, shard)]
        if fleet is None:
            if only is None and any(report.entries for report in reports):
                reports.append(_failed(self.folder, shard_origin(self.pointer.origin, FLEET), Finding(
                    _CHECK, Verdict.INCOMPLETE, "no checkpoint of any shard is in the fleet log yet")))
            return reports
        there = {shard_origin(self.pointer.origin, shard) for shard in shards}
        for origin in sorted(set(self.expected) - there):
            fleet.findings.append(Finding(_CHECK, Verdict.TAMPERED, f"{origin} is gone", self.first[origin]))
        fleet.findings += self.misnamed
        fleet.cover(_CHECK, f"{sum(map(len, self.expected.values()))} checkpoints of {len(self.expected)} shards, "
                                 "each a prefix of what the shard holds")
        return reports if only not in (None, FLEET) else [*reports, fleet]

    def fleet_log(self) -> Report:
        report = self.log(FLEET)
        with DatabaseSource(self.pointer.place, FLEET) as source:
            for index, _, leaf in source.leaves(0, report.entries - 1, (f'"type":"{RECORD}"'.encode(),)):
                try:
                    data = parse(leaf)["data"]
                    checkpoint = _checkpoint(data)
                except (MalformedEntry, KeyError, TypeError, ValueError):
                    report.findings.append(Finding(_CHECK, Verdict.TAMPERED, "not a checkpoint of a shard", index))
                    continue
                known = self.expected.setdefault(checkpoint.origin, [])
                self.first.setdefault(checkpoint.origin, index)
                if known and known[-1][1].size >= checkpoint.size:
                    report.findings.append(Finding(
                        _CHECK, Verdict.TAMPERED, f"{checkpoint.origin} has not grown since its last checkpoint", index))
                known.append((_CHECK, checkpoint))
                if "key" in data:
                    self.named.setdefault(checkpoint.origin, []).append((index, checkpoint.size, str(data["key"])))
        return report

    def log(self, shard: int) -> Report:
        """One log, with what this machine and the fleet log know of it."""
        origin = shard_origin(self.pointer.origin, shard)
        folder = self.folder / shard_folder(shard)
        against = self.against if self.against is not None and self.against.partition("\n")[0] == origin else None
        try:
            verifier, trust = self.key_of(shard, origin), self.trusts.get(origin)
        except AuditError as error:
            return _failed(folder, origin, Finding("key", Verdict.UNTRUSTED, str(error)))
        try:
            with DatabaseSource(self.pointer.place, shard) as source, DatabaseShelf(self.pointer.place, shard) as shelf:
                report = verify_source(source, shelf, verifier, folder, against=against, trust=trust,
                                       expected=self.expected.get(origin, ()), is_key_pinned=self.pinned)
                self.compare_keys(source, origin, verifier)
        except AuditError as error:
            return _failed(folder, origin, Finding("store", Verdict.TAMPERED, str(error)))
        return report

    def key_of(self, shard: int, origin: str) -> Verifier:
        """The key that a log is verified with: its trust note's, the pinned one, or what this machine keeps of it."""
        if self.verifier is None:
            trust = self.trusts.get(origin)
            if trust is None:
                raise AuditError(f"no trust note is about {origin}")
            return Verifier(origin, trust.keys[-1].key.public)
        own = self.folder / shard_folder(shard) / VERIFIER_FILE
        return read_verifier(own) if not self.pinned and own.exists() else self.verifier.named(origin)

    def compare_keys(self, source: Source, origin: str, verifier: Verifier) -> None:
        """The fleet log names the key that a shard had at each size."""
        named = self.named.get(origin)
        if not named:
            return
        changes = [(index, parse(bytes(leaf))) for index, _, leaf in source.leaves(containing=(b'"type":"key_rotate"',))]
        try:
            ranges = ranges_of([(index, str(record["data"].get("old")), str(record["data"].get("new")))
                                for index, record in changes if record["type"] == "key_rotate"], verifier.key)
            wrong = [index for index, size, key in named if key_of(ranges, size).vkey != key]
        except (EvidenceError, MalformedEntry):
            return      # found where the shard was verified
        for index in wrong[:1]:
            self.misnamed.append(Finding(_CHECK, Verdict.TAMPERED, f"{origin} had another key than is named", index))


def _checkpoint(data: object) -> Checkpoint:
    if not isinstance(data, dict) or type(data["size"]) is not int or type(data["origin"]) is not str:
        raise ValueError("not a checkpoint")
    root = bytes.fromhex(data["root"])
    if len(root) != 32:
        raise ValueError("not a root")
    return Checkpoint(data["origin"], data["size"], root)

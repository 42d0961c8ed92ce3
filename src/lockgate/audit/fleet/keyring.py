"""The keys of a fleet, as one gateway has them: in files, or with a signer beside it.

    <audit>/log.key        the key that shards begin with, the same on every gateway
    <audit>/shard-2/log.key  that of shard 2: a copy of it, until the shard's key is changed there

Any gateway may have to continue any shard, so it needs the key that the shard has by now. One that has an
older one leaves that shard to others. With a signer in another process, or a key service, it is the same with
`log.vkey`, which says what the shard is signed with: each gateway pins it. The log's name is part of what is
signed: a checkpoint of one shard is none of another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lockgate.audit import keys
from lockgate.audit.checkpoint import Signer, Verifier, open_note
from lockgate.audit.entry import parse
from lockgate.audit.failures import MalformedEntry, UntrustedNote
from lockgate.audit.signing.opening import Settings, open_signer, remember
from lockgate.audit.storage.contract import signed_size
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import FLEET, shard_folder, shard_origin
from lockgate.errors import AuditError

_NOTES: Final = "SELECT shard, s.origin, h.note FROM head h JOIN shards s USING (shard) WHERE h.note <> '' LIMIT 1001"
_STANDS: Final = "SELECT size, note FROM head WHERE shard = $1 AND note <> ''"
_LEAVES: Final = "SELECT idx, leaf FROM entries WHERE shard = $1 AND idx = ANY($2::bigint[])"
_KEY: Final = "fleet key"       # its row in `meta`: which public key the first gateway made


class Keyring:
    """`folder` is the gateway's audit folder, `origin` the fleet's name, `signer` who signs (`signing.opening`)."""

    def __init__(self, folder: Path, origin: str, signer: Settings) -> None:
        self.folder = folder
        self.origin = origin
        self.signer = signer

    def require(self, connection: Connection) -> None:
        """The fleet's key is here, or this is the fleet's first gateway, which makes it. Raises `AuditError`."""
        path = self.folder / (keys.VERIFIER_FILE if self.signer else keys.KEY_FILE)
        is_first = not connection.value("SELECT EXISTS (SELECT 1 FROM head WHERE size > 0)")
        is_new = not path.exists()
        try:
            made = open_signer(self._place(FLEET), shard_origin(self.origin, FLEET), self.signer,
                               may_create=is_first or bool(self.signer))
        except AuditError as error:
            if is_new and not is_first and not self.signer:
                raise AuditError(f"{path}: the fleet has records, and its key is not here",
                                 advice="copy log.key from another gateway of the fleet (mode 0600)") from error
            raise
        remember(self.folder, self.signer)
        public = str(made.verifier).encode()
        if is_new and is_first:
            connection.execute("INSERT INTO meta VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", FLEET, _KEY, public)
            if connection.value("SELECT value FROM meta WHERE shard = $1 AND name = $2", FLEET, _KEY) != public:
                self._forget()
                raise AuditError(f"{self.folder}: another gateway made the fleet's key at the same time",
                                 advice="copy log.key from it (mode 0600), or ask a signer that has the same key")
        rows = connection.rows(_NOTES)
        if rows and not any(_is_by(note, self.verifier(shard).named(name)) for shard, name, note in rows):
            if is_new:
                self._forget()
            raise AuditError(f"{path}: is not the key that this fleet signs with",
                             advice="copy log.key from another gateway of the fleet, or ask a signer that has its key")

    def _forget(self) -> None:
        for name in (keys.VERIFIER_FILE, *(() if self.signer else (keys.KEY_FILE,))):
            (self.folder / name).unlink(missing_ok=True)

    def lend(self, shard: int) -> Path:
        """The folder of a shard, with what it is signed with in it."""
        folder = self.folder / shard_folder(shard)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if self.signer:
                if not (folder / keys.VERIFIER_FILE).exists():
                    keys.publish(folder, self.verifier(shard))
            elif not (folder / keys.KEY_FILE).exists():
                keys.write_durably(folder / keys.KEY_FILE, (self.folder / keys.KEY_FILE).read_bytes(), 0o600)
            remember(folder, self.signer)
        except OSError as error:
            raise AuditError(f"{folder}: {error.strerror}", advice="make the state folder writable") from None
        return folder

    def verifier(self, shard: int) -> Verifier:
        """The key that this gateway would sign a shard with. Raises `AuditError`."""
        own = self.folder / shard_folder(shard)
        is_own = (own / (keys.VERIFIER_FILE if self.signer else keys.KEY_FILE)).exists()
        return self._key_in(own if is_own else self.folder, shard)

    def _place(self, shard: int) -> Path:
        """The folder that says which key a signer has for a log: its own, once the log was here."""
        own = self.folder / shard_folder(shard)
        return own if self.signer and (own / keys.VERIFIER_FILE).exists() else self.folder

    def first(self, shard: int) -> Verifier:
        """The key that a shard begins with here. Raises `AuditError`."""
        return self._key_in(self.folder, shard)

    def _key_in(self, folder: Path, shard: int) -> Verifier:
        origin = shard_origin(self.origin, shard)
        if self.signer:
            return keys.read_verifier(folder / keys.VERIFIER_FILE).named(origin)
        return Signer(origin, keys.read_key(folder / keys.KEY_FILE)).verifier

    def fits(self, connection: Connection, shard: int) -> bool:
        """Whether this gateway can go on with a shard: its key signed the head, or is named by the newest entry, or by
        the last one that the head's signature is of. That may be an older one where the signer lags: then the next
        key has gone on already, if there are entries behind it.
        """
        verifier = self.verifier(shard)
        for size, note in connection.rows(_STANDS, shard):
            signed = min(signed_size(note, 0), size)
            named = {index: _named(leaf) for index, leaf in connection.rows(_LEAVES, shard, [size - 1, signed - 1])}
            is_over = signed < size and named.get(signed - 1) is not None
            if str(verifier) not in named.values() and (is_over or not _is_by(note, verifier)):
                return False
        return True

    def require_fit(self, connection: Connection, shard: int) -> None:
        """Raise `AuditError` unless `fits`."""
        if not self.fits(connection, shard):
            raise self.misfit(shard)

    def misfit(self, shard: int) -> AuditError:
        """That a shard goes on with another key, and what brings it here."""
        name = shard_folder(shard)
        here = f"{name}/log.vkey" if self.signer else f"{name}/log.key and {name}/log.vkey"
        there = f", and the signer's {name}.key to the signer here" if "socket" in self.signer else ""
        return AuditError(f"{name} goes on with a key that is not here",
                          advice=f"copy {here} from the gateway where the key was changed{there}")


def _is_by(note: str, verifier: Verifier) -> bool:
    try:
        open_note(note, verifier)
    except UntrustedNote:
        return False
    return True


def _named(leaf: bytes) -> str | None:
    """The key that an entry hands over to, if it is a change of keys. What it says is checked when the shard is opened."""
    try:
        record = parse(bytes(leaf))
    except MalformedEntry:
        return None
    return str(record["data"].get("new")) if record.get("type") == "key_rotate" else None

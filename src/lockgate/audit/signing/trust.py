"""Making and reading an organisation's trust note. What it may say is in `evidence.trust`."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.audit.checkpoint import Verifier
from lockgate.audit.entry import parse
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import NOTE_LIMIT, SignatureLine
from lockgate.audit.evidence.policy import Policy, parse_policy
from lockgate.audit.evidence.trust import Trust, TrustedAuthority, parse_trust, parse_trust_note, ranges_of
from lockgate.audit.failures import UntrustedNote
from lockgate.audit.keys import read_verifier
from lockgate.audit.storage.database.place import log_verifier
from lockgate.audit.storage.sqlite import open_source
from lockgate.errors import AuditError

TRUST_FILE: Final = "trust.note"
_ROTATION: Final = b'"type":"key_rotate"'


def draft_trust(folder: Path, serial: int, policy: str | None, authorities: Iterable[str]) -> str:
    """The text of a trust note for the log in a folder: its keys, a policy's witnesses, pinned certificates.

    `authorities` are ``NAME=FILE``. Raises `AuditError`. Nothing in the folder is verified here: who signs
    the text has to compare the keys with what was noted down when the log was made.
    """
    with open_source(folder) as source:
        found = [(index, parse(leaf)) for index, _, leaf in source.leaves(containing=(_ROTATION,))]
    changes = [(index, str(record["data"].get("old")), str(record["data"].get("new")))
               for index, record in found if record["type"] == "key_rotate"]
    try:
        known = ranges_of(changes, log_verifier(folder).key)
        rules = Policy((), (), (), "none") if policy is None else parse_policy(policy)
        text = Trust(serial, known, rules, tuple(_authority(given) for given in authorities)).text()
        return parse_trust(text).text()
    except EvidenceError as error:
        raise AuditError(f"{error.check}: {error.message}") from None


def sign_trust(text: str, name: str, root: Ed25519PrivateKey) -> str:
    """The signed note. Raises `AuditError` for a text that is no trust note."""
    try:
        parse_trust(text)
    except EvidenceError as error:
        raise AuditError(f"not the text of a trust note: {error.message}") from None
    key = Verifier(name, root.public_key().public_bytes_raw())
    return f"{text}\n{SignatureLine(name, key.id, root.sign(text.encode())).line}"


def read_trust(path: Path, root: Path) -> Trust:
    """The trust note in a file, verified with the root's verifier key in another. Raises `UntrustedNote`."""
    try:
        note = path.read_bytes()[: 4 * NOTE_LIMIT].decode()
        return parse_trust_note(note, str(read_verifier(root)))
    except (OSError, UnicodeDecodeError) as error:
        raise UntrustedNote(f"{path}: cannot be read: {error}") from None
    except EvidenceError as error:
        raise UntrustedNote(f"{path}: {error.message}") from None


def read_trusts(folder: Path, root: Path) -> dict[str, Trust]:
    """The trust notes of several logs, by the logs' names: ``*.note`` in a folder and ``trust.note`` in the folders there.

    Raises `UntrustedNote`, also where two of them are about one log.
    """
    found: dict[str, Trust] = {}
    for path in sorted({*folder.glob("*.note"), *folder.glob(f"*/{TRUST_FILE}")}):
        trust = read_trust(path, root)
        if trust.origin in found:
            raise UntrustedNote(f"{path}: another note is about {trust.origin} as well")
        found[trust.origin] = trust
    return found


def _authority(given: str) -> TrustedAuthority:
    name, equals, path = given.partition("=")
    if not equals or not name:
        raise AuditError(f"{given}: write NAME=CERTIFICATE")
    return TrustedAuthority(name, sha256(read_certificate(Path(path))).digest())


def read_certificate(path: Path) -> bytes:
    """The DER bytes of the first certificate in a PEM or DER file. Raises `AuditError`."""
    try:
        content = path.read_bytes()[:65_536]
        made = (x509.load_pem_x509_certificate(content) if b"-----BEGIN" in content
                else x509.load_der_x509_certificate(content))
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: no certificate: {error}") from None
    return made.public_bytes(Encoding.DER)

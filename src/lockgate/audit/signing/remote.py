"""The log's end of a signer in another process (`process`)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note
from lockgate.audit.failures import UntrustedNote
from lockgate.audit.signing import wire
from lockgate.audit.signing.contract import SignerAway, SignerRefused

_TIMEOUT: Final = 3.0


class SocketSigner:
    """Asks the signer at a Unix socket, a connection for each request. What it answers is verified."""

    lags = True

    def __init__(self, path: Path, verifier: Verifier, successor: Verifier | None = None) -> None:
        self._path = path
        self._verifier = verifier
        self.successor = successor
        """The next key, where a change of keys was under way when it was asked."""

    @classmethod
    def connect(cls, path: Path, origin: str) -> Self:
        """The signer at `path`, by its own word on its key: compare it with the one that is pinned.

        Raises `SignerAway`, or `SignerRefused` where it signs for another log.
        """
        try:
            said = _ask(path, _request("last", origin))
            verifier = Verifier.parse(str(said.get("vkey")))
            successor = None if said.get("next") is None else Verifier.parse(str(said["next"]))
        except UntrustedNote as error:
            raise SignerRefused(f"the signer at {path} has no usable key: {error}") from None
        if verifier.name != origin:
            raise SignerRefused(f"the signer at {path} signs {verifier.name}, not {origin}")
        return cls(path, verifier, successor)

    @property
    def verifier(self) -> Verifier:
        """The signer's key."""
        return self._verifier

    def last(self) -> Checkpoint:
        """What the signer remembers."""
        answer = _ask(self._path, self._request("last"))
        size = answer.get("size")
        if answer.get("vkey") != str(self._verifier) or type(size) is not int:
            raise SignerRefused(f"the signer at {self._path} has another key now")
        return Checkpoint(self._verifier.name, size, wire.read_hash(answer.get("root")))

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes] = ()) -> str:
        """The signed note."""
        note = _ask(self._path, wire.sign_request(checkpoint, proof)).get("note")
        return checked(note, checkpoint, self._verifier)

    def prepare(self) -> Verifier:
        """Have the next key made beside this one, unless it is there; its verifier key. Nothing changes yet."""
        try:
            verifier = Verifier.parse(str(_ask(self._path, self._request("prepare")).get("vkey")))
        except UntrustedNote as error:
            raise SignerRefused(f"the signer's next key is not usable: {error}") from None
        if verifier.name != self._verifier.name or str(verifier) == str(self._verifier):
            raise SignerRefused("the signer's next key is none for this log")
        return verifier

    def switch(self, leaf: bytes, path: Sequence[bytes], successor: Verifier) -> SocketSigner:
        """Have the next key take over: the signer is shown that the last entry it signed says so."""
        answer = _ask(self._path, {**self._request("switch"), "leaf": leaf.hex(), "path": [node.hex() for node in path]})
        if answer.get("vkey") != str(successor):
            raise SignerRefused("the signer goes on with another key than it announced")
        return SocketSigner(self._path, successor)

    def _request(self, what: str) -> dict[str, Any]:
        return _request(what, self._verifier.name)


def checked(note: object, checkpoint: Checkpoint, verifier: Verifier) -> str:
    """A note that is by this key and of this checkpoint. Raises `SignerRefused`."""
    try:
        if type(note) is str and open_note(note, verifier) == checkpoint:
            return note
    except UntrustedNote:
        pass
    raise SignerRefused("the signer answered with something else than a signature of this checkpoint")


def _request(what: str, origin: str) -> dict[str, Any]:
    return {"v": 1, "do": what, "origin": origin}


def _ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(str(path))
            with suppress(BrokenPipeError):     # who refuses us may have answered and closed before it read this
                wire.send_line(connection, request)
            answer = wire.receive_line(connection)
    except (OSError, ValueError) as error:
        raise SignerAway(f"the signer at {path} does not answer: {error}",
                         advice="start it: lockgate audit signer --socket …") from None
    if "refused" in answer:
        raise SignerRefused(f"the signer refuses: {str(answer['refused'])[:300]}",
                            advice="find out whether the log or the signer was rolled back; do not remove its memory")
    return answer

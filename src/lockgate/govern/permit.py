"""The proofs that the driver asks for: `Permit` towards a backend (I1), `Cleared` towards a client (I3).

Both *carry* the bytes that they speak of, and the driver writes nothing but what it takes out of
one. A digest beside the bytes would leave room for the two to differ; bytes that can only be had
from the proof do not. Only the pipeline makes them: the constructors want a seal that this module
gives to nobody else.
"""

from __future__ import annotations

from typing import final

from lockgate.errors import Uncleared, Unpermitted

_SEAL = object()


@final
class Permit:
    """Identity, policy, review and record are done for exactly these bytes. Spent once.

    `session` and `records` (sequence numbers inside the session) name the records that are durable
    or queued (I2). `records` is empty for bytes that carry no request of their own (a Sync, the
    data of a COPY): they go under the record of the session or statement that `under` names.
    """

    __slots__ = ("_payload", "records", "session", "under")

    def __init__(
        self, seal: object, session: str, records: tuple[int, ...], under: int, payload: bytes
    ) -> None:
        if seal is not _SEAL:
            raise Unpermitted("a permit is made by the pipeline only")
        self.session = session
        self.records = records
        self.under = under
        self._payload: bytes | None = payload

    def spend(self) -> bytes:
        """The bytes to forward; a second call raises `Unpermitted`."""
        payload = self._payload
        if payload is None:
            raise Unpermitted("this permit has been spent")
        self._payload = None
        return payload


@final
class Cleared:
    """Bytes that may reach the client: every mask that is due has been applied. Spent once."""

    __slots__ = ("_payload",)

    def __init__(self, seal: object, payload: bytes) -> None:
        if seal is not _SEAL:
            raise Uncleared("clearance is given by the pipeline only")
        self._payload: bytes | None = payload

    def spend(self) -> bytes:
        """The bytes to send; a second call raises `Uncleared`."""
        payload = self._payload
        if payload is None:
            raise Uncleared("this clearance has been spent")
        self._payload = None
        return payload


def issue_permit(session: str, records: tuple[int, ...], under: int, payload: bytes) -> Permit:
    """For `govern.pipeline` alone (an import contract and a test hold this)."""
    return Permit(_SEAL, session, records, under, payload)


def issue_clearance(payload: bytes) -> Cleared:
    """For `govern.pipeline` alone (an import contract and a test hold this)."""
    return Cleared(_SEAL, payload)


def require_permit(permit: object) -> bytes:
    """What the driver calls before it writes to a backend: the bytes, or `Unpermitted`."""
    if type(permit) is not Permit:
        raise Unpermitted("no byte goes to a backend without a permit")
    return permit.spend()


def require_clearance(cleared: object) -> bytes:
    """What the driver calls before it writes to a client: the bytes, or `Uncleared`."""
    if type(cleared) is not Cleared:
        raise Uncleared("no byte goes to a client without clearance")
    return cleared.spend()

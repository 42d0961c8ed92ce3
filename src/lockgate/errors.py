"""The errors that Lockgate raises: one root, a few children, each with a stable code.

An expected outcome (a refused statement, a denied login) is a value, `lockgate.model.Refusal`,
and never an exception. What is here means: an invariant was broken, an input could not be
understood, or the outside world failed. `code` is stable and documented; `advice()` is for people.
Messages never hold a secret or a value from a backend.
"""

from __future__ import annotations


class LockgateError(Exception):
    """Root of every error that Lockgate raises on purpose.

    `code` is a stable dotted name (``config.invalid``); `args[0]` says what happened.
    """

    code = "internal"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self._advice = advice

    def advice(self) -> str:
        """What a person can do about it, or an empty string."""
        return self._advice


class ConfigError(LockgateError):
    """The configuration is wrong; the message holds file, line and what to write instead."""

    code = "config.invalid"


class Unpermitted(LockgateError):
    """Bytes were about to reach a backend without a permit for exactly these bytes (I1)."""

    code = "invariant.unpermitted"


class Uncleared(LockgateError):
    """Result bytes were about to reach a client without having passed the mask stage (I3)."""

    code = "invariant.uncleared"


class ProtocolError(LockgateError):
    """A peer or this side broke a wire protocol. The codec refuses use afterwards."""

    code = "protocol.error"


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow."""

    code = "protocol.remote"


class LocalProtocolError(ProtocolError):
    """This side tried to send something that the protocol does not allow."""

    code = "protocol.local"


class IdentityError(LockgateError):
    """A token or a provider could not be trusted. `code` names the check that failed."""

    code = "identity.invalid"


class AuditError(LockgateError):
    """The audit log cannot accept or prove records; nothing may be forwarded."""

    code = "audit.unavailable"


class BackendError(LockgateError):
    """A backend could not be reached, authenticated to, or understood."""

    code = "backend.unavailable"

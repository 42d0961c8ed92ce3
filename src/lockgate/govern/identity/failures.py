"""The names of what can be wrong with a token, a certificate or a provider.

Apart from the checks so that the list can be read, documented and counted in one place. A failure
is an `IdentityError` whose `code` is stable; its message never holds any part of the token.
"""

from __future__ import annotations

from enum import StrEnum

from lockgate.errors import IdentityError


class Failure(StrEnum):
    """Stable codes, in the order in which the checks run."""

    TOO_LARGE = "identity.too_large"                        # token, header or claims above the cap
    MALFORMED = "identity.malformed"                        # not a compact JWS of strict JSON
    HEADER = "identity.header"                              # a header parameter that is refused
    ISSUER = "identity.issuer"                              # no configured provider has this `iss`
    ALGORITHM = "identity.algorithm"                        # not on the provider's allow list
    KEY_UNKNOWN = "identity.key_unknown"                    # the provider publishes no fitting key
    KEY_AMBIGUOUS = "identity.key_ambiguous"                # more than one key would fit
    SIGNATURE = "identity.signature"
    EXPIRED = "identity.expired"
    NOT_YET_VALID = "identity.not_yet_valid"
    ISSUED_IN_FUTURE = "identity.issued_in_future"
    AUDIENCE = "identity.audience"
    AUTHORIZED_PARTY = "identity.authorized_party"
    SENDER_CONSTRAINED = "identity.sender_constrained"      # `cnf`: bound to a key that we cannot check, or that was not shown
    CERTIFICATE = "identity.certificate"                    # a client's certificate that cannot say who it is
    SUBJECT = "identity.subject"
    GROUPS = "identity.groups"
    CLAIM = "identity.claim"                                # any other claim of the wrong form
    KEYS = "identity.keys"                                  # the provider's key set is unusable
    DISCOVERY = "identity.discovery"                        # its discovery document is unusable
    PROVIDER_UNAVAILABLE = "identity.provider_unavailable"  # it cannot be reached, no keys in hand
    KEYS_STALE = "identity.keys_stale"                      # it cannot be reached for too long
    OVERLOADED = "identity.overloaded"                      # too many logins wait for a provider
    STOPPED = "identity.stopped"                            # the gateway is shutting down


def failed(failure: Failure, message: str, *, advice: str = "") -> IdentityError:
    """The error for `failure`, to be raised by the caller (so that the traceback starts there)."""
    error = IdentityError(message, advice=advice)
    error.code = failure.value
    return error

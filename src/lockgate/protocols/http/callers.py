"""Who asks: where the token is in a request's fields, and which of them never travel on.

A token is the credential of `Bearer` (RFC 6750), the password of `Basic` (RFC 7617), or the value of the header that the
connection names; of `Proxy-Authorization` before `Authorization`, because a client of a proxy writes the backend's into
the latter.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from lockgate.model import Secret
from lockgate.protocols.http.messages import RequestHead

_LONGEST: Final = 16_384
NEVER_ON: Final = frozenset((
    b"authorization", b"proxy-authorization",
    # What only the gateway may say of where a request comes from, and what makes a backend take it for another one.
    b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix",
    b"x-forwarded-server", b"x-forwarded-ssl", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip",
    # By which proxies tell of a client's certificate (RFC 9440 section 4 has them taken out).
    b"client-cert", b"client-cert-chain", b"x-client-cert", b"x-client-certificate", b"x-forwarded-client-cert",
    b"x-ssl-client-cert", b"x-ssl-client-verify", b"x-ssl-client-dn", b"x-ssl-client-s-dn", b"x-ssl-cert", b"ssl-client-cert",
    b"ssl-client-verify", b"ssl-client-s-dn", b"x-amzn-mtls-clientcert", b"x-amzn-mtls-clientcert-subject",
    b"x-amzn-mtls-clientcert-leaf", b"x-arr-clientcert", b"x-forwarded-tls-client-cert", b"x-forwarded-tls-client-cert-info",
    b"x-original-host", b"x-host", b"x-original-url", b"x-rewrite-url", b"x-original-uri",
))
"""Fields that stay here, whatever they hold."""
OVERRIDES: Final = (b"x-http-method-override", b"x-http-method", b"x-method-override")
"""Fields by which some servers take a request for one of another method than policy saw."""


class NoToken(Exception):
    """No token can be read; says what is wrong. `is_absent`: nothing came that could be one."""

    def __init__(self, reason: str, *, is_absent: bool = False) -> None:
        super().__init__(reason)
        self.is_absent = is_absent


def token_of(head: RequestHead, header: str | None) -> Secret:
    """The caller's token. `NoToken` where there is none, or more than one in a place."""
    for name in (b"proxy-authorization", b"authorization"):
        values = head.all(name)
        if len(values) > 1:
            raise NoToken(f"{name.decode()} occurs more than once")
        if values:
            return _credential(values[0])
    if header is not None:
        values = head.all(header.lower().encode("ascii"))
        if len(values) > 1:
            raise NoToken(f"{header.lower()} occurs more than once")
        if values:
            return _text(values[0])
    raise NoToken("no token came with the request", is_absent=True)


def _credential(value: bytes) -> Secret:
    scheme, _, rest = value.partition(b" ")
    rest = rest.strip(b" ")
    if len(rest) > _LONGEST:
        raise NoToken("the credential is too long")
    if scheme.lower() == b"bearer" and rest:
        return _text(rest)
    if scheme.lower() == b"basic":
        try:
            _, colon, password = base64.b64decode(rest, validate=True).partition(b":")
        except binascii.Error:
            raise NoToken("the Basic credential is no base64") from None
        if colon and password:
            return _text(password)
    raise NoToken("the credential is neither `Bearer` with a token nor `Basic` with a token as its password")


def _text(token: bytes) -> Secret:
    if not token:
        raise NoToken("the token is empty")
    try:
        return Secret(token.decode("ascii"))
    except UnicodeDecodeError:
        raise NoToken("the token is not ASCII") from None

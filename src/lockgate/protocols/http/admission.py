"""Who asks for which connection, and the session that the two have.

A client's connection may carry requests of several callers and for several connections, one after the other: whoever is
another one, or goes elsewhere, gets another session. A token that was verified for the session at hand is not verified
again; it is compared by its hash, in constant time.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from lockgate.config.duration import seconds
from lockgate.config.settings import Connection
from lockgate.govern.masking.bodies import BodyTerms, Renamed
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.scopes import Scopes
from lockgate.model import ColumnMask, Decision, DetectMask, Identity, KeyScope, Refusal, RefusalCode, Secret
from lockgate.protocols.http.callers import NoToken, token_of
from lockgate.protocols.http.listing import Listing
from lockgate.protocols.http.messages import MessageError, RequestHead
from lockgate.protocols.http.problems import Problem, problem_of
from lockgate.protocols.http.routing import Destination
from lockgate.protocols.http.settings import HttpSettings, settings_of
from lockgate.wire.spec import LoginContext
from lockgate.wire.steps import Admission, Admit, Authenticate, EndSession, Opened, Steps

_TASK = b"lockgate-task"
_LONGEST_TASK = 256


@dataclass(frozen=True, slots=True)
class Admitted:
    """A session: whose it is, and what its connection says."""

    mark: bytes
    connection: Connection
    settings: HttpSettings
    listing: Listing
    graphql: frozenset[str]                 # paths without regard to case, as some backends read them
    scopes: Scopes
    keys: MaskKeys | None
    admission: Admission
    identity: Identity
    timeout: float
    patience: float
    is_recorded: bool

    def terms(self, decision: Decision, segments: tuple[str, ...], limit: int) -> BodyTerms:
        """What is hidden in the answer to a request."""
        return self.terms_of(decision.masks, decision.detects, segments, limit)

    def terms_of(
        self, masks: tuple[ColumnMask, ...], detects: tuple[DetectMask, ...], place: tuple[str, ...], limit: int,
        renamed: Renamed = (),
    ) -> BodyTerms:
        """Terms of masks and detectors; `place` are the names around a body behind the connection's."""
        of = self.scopes.of
        return BodyTerms(masks, detects, (self.connection.name, *place), of(KeyScope.CONNECTION), of(KeyScope.TASK),
                         self.keys, limit, renamed=renamed, refuses_text=self.settings.text == "deny")


@lru_cache(maxsize=256)
def digest_of(masks: tuple[ColumnMask, ...], detects: tuple[DetectMask, ...]) -> str:
    """What stands in the record for what is hidden; empty for nothing."""
    return sha256(repr((masks, detects)).encode()).hexdigest() if masks or detects else ""


def admit(
    context: LoginContext, head: RequestHead, to: Destination, before: Admitted | None, certificate: str | None
) -> Steps[Admitted | Problem]:
    """The session of a request: the one `before` where caller, task and connection are the same. Ends that one first
    where they are not. Who sends no token is whom the connection's `certificate` names, if it has one."""
    connection = context.connections.get(to.connection)
    if connection is None:
        return Problem(404, "denied", "there is no such connection here")
    settings = settings_of(connection.options)
    try:
        token = _token_or_certificate(head, settings.token_header, certificate)
        task = (head.get(_TASK) or b"").decode("latin-1")
        if len(task) > _LONGEST_TASK:       # cut, two tasks would be one
            raise MessageError(f"Lockgate-Task is longer than {_LONGEST_TASK} bytes")
    except NoToken as error:
        shows = error.is_absent and context.route.takes_certificates
        return Problem(401, "unauthenticated", str(error), hint="Send `Authorization: Bearer` with a token of a trusted "
                       f"provider{', or show a client certificate in TLS' if shows else ''}.")
    except MessageError as error:
        return Problem(400, "not_understood", error.args[0])
    mark = _mark(token, to, task)
    if before is not None:
        if hmac.compare_digest(before.mark, mark) and before.connection is connection:
            return before
        yield EndSession("another request is another caller's, or for another connection")
    return (yield from _begin(context, token, to, task, mark))


def _token_or_certificate(head: RequestHead, header: str | None, certificate: str | None) -> Secret | None:
    """The caller's token; None where a certificate stands in its place. A token that cannot be read is none that is absent."""
    try:
        return token_of(head, header)
    except NoToken as error:
        if certificate is not None and error.is_absent:
            return None
        raise


def refuse_nowhere(head: RequestHead, certificate: str | None) -> Steps[Problem | None]:
    """Put on record that a caller asked for a host that is no connection. A problem where nobody knows who asks."""
    try:
        token = _token_or_certificate(head, None, certificate)
    except NoToken as error:
        return Problem(407, "unauthenticated", str(error), hint="Put the token into the proxy's URL as its password.")
    identity: Identity | Refusal = yield Authenticate(token)
    if isinstance(identity, Refusal):
        return problem_of(identity).at_proxy()
    refused: Admission | Refusal = yield Admit(identity, head.target.decode("ascii"))      # with its port, as no connection is called
    if isinstance(refused, Refusal) and refused.code is not RefusalCode.DENIED:
        return problem_of(refused)
    return None


def _begin(context: LoginContext, token: Secret | None, to: Destination, task: str, mark: bytes) -> Steps[Admitted | Problem]:
    identity: Identity | Refusal = yield Authenticate(token)
    if isinstance(identity, Refusal):
        return problem_of(identity)
    admission: Admission | Refusal = yield Admit(identity, to.connection, {"task": task} if task else {}, shares=True)
    if isinstance(admission, Refusal):
        return problem_of(admission)
    is_recorded: bool = yield Opened()
    connection: Connection = admission.connection
    settings = settings_of(connection.options)
    return Admitted(
        mark, connection, settings, Listing.of(settings), frozenset(path.casefold() for path in settings.graphql),
        Scopes(connection.name, identity, admission.session, task or None), context.keys, admission, identity,
        seconds(settings.timeout), seconds(settings.patience), is_recorded,
    )


def _mark(token: Secret | None, to: Destination, task: str) -> bytes:
    """What a request has in common with others of its session. A connection's certificate stays the same, so it is not in it."""
    digest = sha256(b"" if token is None else token.reveal().encode())
    for part in (to.connection, task):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()

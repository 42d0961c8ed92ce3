"""What the settings say about erasure and retention, and the erasures that people ask for with a token.

Where one person is enough the request is carried out at once. Where two are needed it becomes a ticket, bound to
the exact set, the reason and the requester; once somebody else has approved it, it is carried out, or refused for a
hold that was set meanwhile, which is on record and shown to both. `audit.custody` does the work in a worker thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import structlog

from lockgate.app.housekeeping import Chore
from lockgate.audit.admin import wish_of
from lockgate.audit.custody import Custody, Refused, submitting
from lockgate.audit.erasing import Plan, Wish
from lockgate.audit.leaves import principal
from lockgate.audit.requests import ErasureRequest, erasure_requests
from lockgate.audit.storage.sqlite import open_source
from lockgate.config.duration import seconds
from lockgate.config.settings import AuditSettings
from lockgate.errors import AuditError, LockgateError
from lockgate.govern.review import Approval, Ask
from lockgate.model import ERASURE_RULE, Identity, Refusal, ReviewTerms

if TYPE_CHECKING:
    from lockgate.app.gateway import Gateway

log = structlog.get_logger("lockgate")
_RETAIN: Final = 60.0       # seconds between two runs of the retention
Dispatch = Callable[[Callable[[], None]], None]


class NotAllowed(Refused):
    """The caller is in none of the groups that may ask for this."""

    code = "audit.forbidden"


def in_force(settings: AuditSettings) -> dict[str, object]:
    """What the log says of the settings that it is verified by."""
    retention = settings.retention
    periods = {"payloads": retention.payloads, "recordings": retention.recordings}
    return {
        "approvals": settings.erasure.approvals,
        "retention": {name: int(seconds(period)) for name, period in periods.items() if period is not None},
    }


class Erasures:
    """The gateway's custody, and who may ask for what."""

    def __init__(self, gateway: Gateway, custody: Custody) -> None:
        self._gateway = gateway
        self._custody = custody

    async def ask(self, identity: Identity, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """Erase, or open a ticket. Raises `AuditError` where it cannot be done as asked."""
        settings = self._gateway.loaded.settings.audit.erasure
        if identity.groups.isdisjoint(settings.by):
            raise NotAllowed("nobody of your groups may have payloads erased")
        wish = wish_of(words)
        plan, key = await asyncio.to_thread(self._custody.plan, wish)
        if settings.approvals == 1:
            return asdict(await asyncio.to_thread(self._custody.carry_out, plan, identity.principal, wish.reason))
        terms = ReviewTerms(frozenset(settings.approve), seconds(settings.expires))
        answer = self._gateway.reviews.request(Ask(
            identity, "audit", "", _words(wish, plan), (), (ERASURE_RULE,), terms, self._gateway.loaded.policy_hash,
            binds=plan.binding(key, identity.principal, wish.reason),
        ))
        if isinstance(answer, Refusal):
            raise Refused(answer.reason)
        if isinstance(answer, Approval):
            return asdict(await self._carry_out(identity, wish, plan, answer.ticket))

        def decided(verdict: Approval | Refusal) -> None:
            if isinstance(verdict, Approval):
                self._gateway.tasks.create_task(self._finish(identity, wish, plan, verdict.ticket))

        answer.then(decided)
        return {"ticket": answer.ticket, "payloads": plan.payloads}

    async def requests(self, identity: Identity, ticket: str | None) -> list[Mapping[str, Any]]:
        """What became of the erasures that the caller asked for, or may approve. Raises `AuditError`."""
        settings = self._gateway.loaded.settings.audit.erasure
        if identity.groups.isdisjoint({*settings.by, *settings.approve}):
            raise NotAllowed("nobody of your groups may have payloads erased, or approve that")
        found, own = await asyncio.to_thread(self._found, identity, ticket)
        sees_all = not identity.groups.isdisjoint(settings.approve)
        return [request.shown() for request in found if sees_all or own in request.people]

    def _found(self, identity: Identity, ticket: str | None) -> tuple[list[ErasureRequest], str]:
        with open_source(self._custody.folder) as source:
            return (erasure_requests(source, self._gateway.clock.now(), ticket),
                    principal(source.pseudonyms, *identity.principal))

    async def _carry_out(self, identity: Identity, wish: Wish, plan: Plan, ticket: str) -> Any:
        """Do what was approved. What stands in the way is a record as well: somebody was told that it will be done."""
        reviewer: tuple[str, str] | None = None
        try:
            reviewer = self._approver(ticket)
            return await asyncio.to_thread(
                self._custody.carry_out, plan, identity.principal, wish.reason, reviewer, ticket)
        except AuditError as error:
            await asyncio.to_thread(self._custody.refuse, ticket, error, identity.principal, reviewer)
            raise

    def _approver(self, ticket: str) -> tuple[str, str]:
        review = self._gateway.reviews.get(ticket)
        if review is None or review.reviewer_issuer is None or review.reviewer_subject is None:
            raise Refused("the ticket's reviewer is not known; nothing was erased")
        if not set(review.reviewer_groups) <= set(self._gateway.loaded.settings.audit.erasure.approve):
            raise Refused("who may approve has changed meanwhile; nothing was erased")
        return review.reviewer_issuer, review.reviewer_subject

    async def _finish(self, identity: Identity, wish: Wish, plan: Plan, ticket: str) -> None:
        try:
            erased = await self._carry_out(identity, wish, plan, ticket)
        except LockgateError as error:
            self._gateway.counters.errors["erasure"] += 1
            log.error("approved erasure not carried out", ticket=ticket, code=error.code)
        else:
            log.info("erased", ticket=ticket, payloads=erased.payloads, records=list(erased.leaves))


def _words(wish: Wish, plan: Plan) -> str:
    """What the other person reads."""
    what = f"subject {wish.subject}" if plan.person is None else f"subject {plan.person[1]} of {plan.person[0]}"
    if wish.subject is None:
        what = "records " + ", ".join(str(first) if first == last else f"{first} to {last}"
                                      for first, last in wish.records)
    return (f"ERASE {plan.payloads} payloads and {len(plan.sessions)} recordings: {what}\n"
            f"set {plan.links()[0]}\nreason: {wish.reason}")


def make_custody(gateway: Gateway, dispatch: Dispatch, drop: Callable[[Sequence[str]], int]) -> Custody:
    """The custody of a gateway's log. `drop` deletes tickets; like the log it is entered on the driver's thread."""

    def forget(tickets: Sequence[str]) -> None:
        if tickets:
            dispatch(lambda: _dropped(drop, tickets))

    return Custody(
        gateway.audit.folder, submitting(gateway.audit, dispatch),
        lambda: gateway.loaded.settings.audit.erasure.approvals, forget,
    )


def _dropped(drop: Callable[[Sequence[str]], int], tickets: Sequence[str]) -> None:
    try:
        drop(tickets)
    except LockgateError as error:
        log.error("tickets of erased statements not deleted", code=error.code)


def retention(gateway: Gateway) -> Chore:
    """Destroys what is older than its period; does nothing while no period is set."""

    def run() -> None:
        periods = gateway.loaded.settings.audit.retention
        payloads, recordings = (None if period is None else seconds(period)
                                for period in (periods.payloads, periods.recordings))
        gateway.custody.retain(payloads, recordings, gateway.clock.now())

    return Chore("retention", _RETAIN, run)

"""What a requester reads of a review, in the word that its protocol has for what it sent.

Stands apart from the desk, which decides when each of them is due. `noun` is the protocol's: a statement, a request.
"""

from __future__ import annotations

from lockgate.model import Refusal, RefusalCode, Review


def too_many(noun: str) -> Refusal:
    """As many tickets are open as there may be, of one requester or in all."""
    return Refusal(
        RefusalCode.DENIED, "too many requests wait for review already",
        hint=f"Wait until some of them are decided, then send the same {noun} again.",
    )


def pending(ticket: str, noun: str) -> Refusal:
    """Nobody has decided yet, and the client does not wait."""
    return Refusal(
        RefusalCode.REVIEW_PENDING, f"a person has to approve this {noun} before it runs", ticket=ticket,
        hint=f"Nothing was executed. Ask for approval of ticket {ticket}, then send the same {noun} again.",
    )


def denied(review: Review, noun: str) -> Refusal:
    """Somebody said no."""
    said = f": {review.comment}" if review.comment else ""
    return Refusal(
        RefusalCode.REVIEW_DENIED, f"a reviewer denied this {noun}{said}", ticket=review.ticket,
        hint="Nothing was executed. Do not send it again; do the task another way or ask its owner.",
    )


def expired(ticket: str, noun: str) -> Refusal:
    """Nobody decided within the ticket's life."""
    return Refusal(
        RefusalCode.REVIEW_EXPIRED, f"nobody decided this {noun} in time", ticket=ticket,
        hint=f"Nothing was executed. Send the same {noun} again to ask anew.",
    )


def policy_changed(ticket: str, noun: str) -> Refusal:
    """The ticket was given under another policy."""
    return Refusal(
        RefusalCode.REVIEW_EXPIRED, f"the policy changed while this {noun} waited for review", ticket=ticket,
        hint=f"Nothing was executed. Send the same {noun} again; the new policy judges it.",
    )


def used_up(ticket: str, noun: str) -> Refusal:
    """An approval serves once, and it has."""
    return Refusal(
        RefusalCode.REVIEW_EXPIRED, f"the approval was used by another request for the same {noun}", ticket=ticket,
        hint=f"Nothing was executed. Send the same {noun} again to ask anew.",
    )


def withdrawn(ticket: str) -> Refusal:
    """The client that waited is gone."""
    return Refusal(RefusalCode.REVIEW_EXPIRED, "the request was withdrawn", ticket=ticket)


def unrecorded(ticket: str) -> Refusal:
    """That somebody asks is not on record, so nobody is asked."""
    return Refusal(
        RefusalCode.AUDIT_UNAVAILABLE, "the request for review could not be recorded", ticket=ticket,
        hint="Nothing was executed. Tell those who run the gateway, then try again later.",
    )

"""The mask for a body that goes to a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lockgate.govern.masking.bodies.event_body import EventBody
from lockgate.govern.masking.bodies.json_mask import JsonMask
from lockgate.govern.masking.bodies.message_body import MessageBody
from lockgate.govern.masking.bodies.seeming_body import Passing, SeemingBody
from lockgate.govern.masking.bodies.shape import shape_for
from lockgate.govern.masking.bodies.shown import ShownValues
from lockgate.govern.masking.bodies.terms import BodyMask, BodyTerms


def body_mask(
    terms: BodyTerms, media_type: bytes, charset: bytes = b"", parameters: Mapping[bytes, bytes] | None = None
) -> BodyMask | None:
    """The mask for a body, or None for one that nothing can look into (images, archives …).

    `media_type` in small letters and without parameters, `charset` and `parameters` (names in small letters) as
    Content-Type has them. ValueError for a character encoding in which the shape cannot be read.
    """
    return shape_for(ShownValues(terms), media_type, charset, parameters or {})


def passing_mask(terms: BodyTerms) -> BodyMask:
    """The mask for a body that nothing can look into and that may pass: if it is JSON, whatever it is called, it is masked."""
    return SeemingBody(ShownValues(terms), Passing({}), must=False)


def json_mask(terms: BodyTerms, text: str, masked: dict[str, int]) -> JsonMask:
    """The mask for JSON values that stand in the message `text`; what is hidden is counted in `masked`."""
    return JsonMask(ShownValues(terms, masked), text)


def event_mask(terms: BodyTerms, reads: Callable[[bytes, bytes], bytes]) -> BodyMask:
    """The mask for a stream of events whose data another one knows: `reads` gets an event's data and its name, and gives
    what is shown of it. Comments and unknown fields are looked into here."""
    return EventBody(ShownValues(terms), reads)


def message_mask(terms: BodyTerms) -> MessageBody:
    """The mask for messages that follow one another and do not say what they are."""
    return MessageBody(ShownValues(terms), names=bool(terms.masks))

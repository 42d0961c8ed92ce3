"""The mask for a body that goes to a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lockgate.govern.masking.bodies.event_body import EventBody
from lockgate.govern.masking.bodies.json_body import JsonBody
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


class JsonMask:
    """The masks over JSON values under the same terms, each whole, one after the other. `masked` counts what was hidden."""

    __slots__ = ("_values", "masked")

    def __init__(self, terms: BodyTerms) -> None:
        self._values = ShownValues(terms)
        self.masked = self._values.masked

    def __call__(self, value: bytes) -> bytes:
        """What is shown of a value. ValueError for what is no JSON."""
        body = JsonBody(self._values)
        return body.feed(value) + body.finish()

    def finds(self, value: bytes) -> bool:
        """Whether detectors have to look into a value at all."""
        return bool(self._values.hits(value))


def event_mask(terms: BodyTerms, reads: Callable[[bytes, bytes], bytes]) -> BodyMask:
    """The mask for a stream of events whose data another one knows: `reads` gets an event's data and its name, and gives
    what is shown of it. Comments and unknown fields are looked into here."""
    return EventBody(ShownValues(terms), reads)


def message_mask(terms: BodyTerms) -> MessageBody:
    """The mask for messages that follow one another and do not say what they are."""
    return MessageBody(ShownValues(terms), names=bool(terms.masks))

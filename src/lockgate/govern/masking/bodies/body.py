"""The mask for a body that goes to a client, and for a piece of text beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lockgate.govern.masking.bodies.event_body import EventBody
from lockgate.govern.masking.bodies.members import Members
from lockgate.govern.masking.bodies.message_body import MessageBody
from lockgate.govern.masking.bodies.shape import shape_for
from lockgate.govern.masking.bodies.shown import ShownValues, looks_of
from lockgate.govern.masking.bodies.terms import BodyMask, BodyTerms


def body_mask(
    terms: BodyTerms, media_type: bytes, charset: bytes = b"", parameters: Mapping[bytes, bytes] | None = None
) -> BodyMask | None:
    """The mask for a body, or None for one that nothing can look into (images, archives …).

    `media_type` in small letters and without parameters, `charset` and `parameters` (names in small letters) as
    Content-Type has them. ValueError for a character encoding in which the shape cannot be read.
    """
    return shape_for(ShownValues(terms), media_type, charset, parameters or {})


def event_mask(terms: BodyTerms, reads: Callable[[bytes, bytes], bytes]) -> BodyMask:
    """The mask for a stream of events whose data another one knows: `reads` gets an event's data and its name, and gives
    what is shown of it. Comments and unknown fields are looked into here."""
    return EventBody(ShownValues(terms), reads)


def message_mask(terms: BodyTerms) -> MessageBody:
    """The mask for messages that follow one another and do not say what they are."""
    return MessageBody(ShownValues(terms), names=bool(terms.masks))


def mask_text(terms: BodyTerms, text: bytes, name: str = "") -> tuple[bytes, dict[str, int]]:
    """A header's value, a part of a URL or the text of an error page, and what was hidden in it. `name` is what it stands
    under: masks may name it.
    """
    values = ShownValues(terms)
    if name:
        return Members(values).text(text, name), values.masked
    running = values.running()
    return running.feed(text) + running.finish(), values.masked


def mask_texts(terms: BodyTerms, texts: Sequence[bytes]) -> tuple[Sequence[bytes], dict[str, int]]:
    """What `mask_text` makes of each of `texts`, which hold no NUL bytes. One search tells whether there can be anything
    in any of them, as there mostly is not: what a find begins with needs nothing in front of it (`prefilter`).
    """
    looks = looks_of(terms.detects)
    if looks is None or looks.text.search(b"\0".join(texts)) is None:
        return texts, {}
    shown: list[bytes] = []
    counts: dict[str, int] = {}
    for text in texts:
        new, masked = mask_text(terms, text)
        shown.append(new)
        for name, count in masked.items():
            counts[name] = counts.get(name, 0) + count
    return shown, counts

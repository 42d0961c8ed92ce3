"""The mask for a body that goes to a client, and for a piece of text beside it."""

from __future__ import annotations

from collections.abc import Mapping

from lockgate.govern.masking.bodies.members import Members
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


def mask_text(terms: BodyTerms, text: bytes, name: str = "") -> tuple[bytes, dict[str, int]]:
    """A header's value, a part of a URL or the text of an error page, and what was hidden in it. `name` is what it stands
    under: masks may name it.
    """
    values = ShownValues(terms)
    if name:
        return Members(values).text(text, name), values.masked
    running = values.running()
    return running.feed(text) + running.finish(), values.masked

"""Masks over bodies: what comes and goes as JSON, text, events and the like, in pieces and without being held.

Apart from `columns` and `detection`, whose results are rows that know their columns: here a name beside a value is all there is.
"""

from lockgate.govern.masking.bodies.body import body_mask, mask_text
from lockgate.govern.masking.bodies.terms import LIMIT, BodyMask, BodyTerms

__all__ = ["LIMIT", "BodyMask", "BodyTerms", "body_mask", "mask_text"]

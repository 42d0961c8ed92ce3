"""Masks over bodies: what comes and goes as JSON, text, events and the like, in pieces and without being held.

Apart from `columns` and `detection`, whose results are rows that know their columns: here a name beside a value is all there is.
"""

from lockgate.govern.masking.bodies.body import body_mask, event_mask, json_mask, message_mask, passing_mask
from lockgate.govern.masking.bodies.codings import BOUNDS, CODINGS, Bounds, Coder, decoding, encoding
from lockgate.govern.masking.bodies.json_mask import JsonMask
from lockgate.govern.masking.bodies.message_body import MessageBody
from lockgate.govern.masking.bodies.message_fields import mask_fields, telling_names
from lockgate.govern.masking.bodies.sent import check_body, check_field, check_message, check_text, json_check
from lockgate.govern.masking.bodies.terms import LIMIT, BodyMask, BodyTerms, NoNames, Renamed

__all__ = [
    "BOUNDS", "CODINGS", "LIMIT", "BodyMask", "BodyTerms", "Bounds", "Coder", "JsonMask", "MessageBody", "NoNames", "Renamed",
    "body_mask", "check_body", "check_field", "check_message", "check_text", "decoding", "encoding", "event_mask", "json_check",
    "json_mask", "mask_fields", "message_mask", "passing_mask", "telling_names",
]

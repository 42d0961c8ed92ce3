"""The parts of multipart/form-data content by name (RFC 7578, RFC 2046 section 5.1): one reading of them, or none.

Readers differ in what they make of a bare line feed, of text around the parts, of a name given twice or in another form
(`filename*`, escapes), so all of that is refused.
"""

from __future__ import annotations

import re
from typing import Final

MOST: Final = 1000
_LONGEST_HEAD: Final = 4096
_BOUNDARY: Final = re.compile(rb'multipart/form-data[ \t]*;[ \t]*boundary=("?)([A-Za-z0-9\'()+_,./:=?-]{1,70})\1[ \t]*',
                              re.IGNORECASE)
_DISPOSITION: Final = re.compile(rb'form-data; ?name="([^"\\\r\n\x00%]*)"(?:; ?filename="([^"\\\r\n\x00%]*)")?', re.IGNORECASE)
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*?)[ \t]*")


class BadParts(ValueError):
    """Content whose parts could be read in two ways. Says why, without anything of it."""


def parts_of(content_type: bytes, content: bytes) -> list[dict[str, object]]:
    """`name`, `filename` ("" where none is given) and `type` (lower case, without parameters) of every part, in order."""
    found = _BOUNDARY.fullmatch(content_type)
    if found is None:
        raise BadParts("the content's type names no boundary, or more than that")
    delimiter = b"\r\n--" + found.group(2)
    first, *parts = (b"\r\n" + content).split(delimiter, MOST + 1)
    if first or not parts or parts.pop() not in (b"--", b"--\r\n"):
        raise BadParts(f"there is text around the parts, no end, or more than {MOST} of them")
    return [_part(part) for part in parts]


def _part(raw: bytes) -> dict[str, object]:
    head, mark, _ = raw.partition(b"\r\n\r\n")
    if not mark or not head.startswith(b"\r\n") or len(head) > _LONGEST_HEAD:
        raise BadParts("a part has no head, or a long one")
    fields: dict[bytes, bytes] = {}
    for line in head[2:].split(b"\r\n"):
        field = _FIELD.fullmatch(line)
        if field is None or field.group(1).lower() in fields:
            raise BadParts("a field of a part cannot be read, or is there twice")
        fields[field.group(1).lower()] = field.group(2)
    disposition = _DISPOSITION.fullmatch(fields.get(b"content-disposition", b""))
    if disposition is None:
        raise BadParts("the name of a part cannot be read in one way")
    try:
        name, filename = ((group or b"").decode("utf-8") for group in disposition.groups())
    except UnicodeDecodeError:
        raise BadParts("the name of a part is not UTF-8") from None
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    return {"name": name, "filename": filename, "type": kind}

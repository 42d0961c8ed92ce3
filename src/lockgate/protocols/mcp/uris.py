"""URIs of resources: one spelling of each, so that policy compares what the server reads.

Servers give a URI to a parser of URLs, which takes dot segments away and small letters for capitals in a scheme, or decode it
themselves. A rule compares text: `crm://open/../secret` begins with `crm://open/`. So what one of them would change is refused.
Source: RFC 3986 section 6.2.2; WHATWG URL, "URL parsing".
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from lockgate.protocols.mcp.jsonrpc import Malformed

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY: Final = re.compile(r"(?:https?|wss?|ftp|file)://([^/?#]*)")
_CHANGED: Final = re.compile("[\x00-\x1f\x7f\\\\]|^ | $")
_NEEDLESS: Final = re.compile(r"%(?:2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])")
"""Escapes of letters, digits, `-`, `.` and `_`."""
_TIMES: Final = 3


def verify_uri(uri: str) -> None:
    """`Malformed` for a URI that a server may take for another one."""
    if _CHANGED.search(uri) is not None:
        raise Malformed("a URI holds a backslash, a control character, or spaces around it")
    scheme, authority = _SCHEME.match(uri), _AUTHORITY.match(uri)
    if (scheme is not None and scheme[1] != scheme[1].lower()) or (authority is not None and authority[1] != authority[1].lower()):
        raise Malformed("the scheme or host of a URI is not in small letters")
    if _NEEDLESS.search(uri) is not None:
        raise Malformed("a URI holds an escape of a character that needs none")
    path = re.split("[?#]", uri, maxsplit=1)[0]
    for _ in range(_TIMES):                 # a server may decode what it was given more than once
        if not {".", ".."}.isdisjoint(re.split(r"[/\\]", path)):
            raise Malformed("a URI holds a dot segment")
        path = unquote(path)

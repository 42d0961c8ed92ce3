"""Names of tools and prompts: one spelling of each, so that policy compares what the server reads.

Names are compared exactly and their case counts (MCP 2025-11-25, server/tools, "Tool Names": 1 to 128 letters, digits, `_`, `-`
and `.`). Servers have others as well, and a lenient one may cut spaces off, or normalise Unicode, before it looks a name up:
`drop ` would reach the tool that a rule calls `drop`. So what such a server would change is refused. Differences in case are
not: with pins, which are on unless a connection turns them off, a name that the server has not listed is called by nobody.
"""

from __future__ import annotations

import unicodedata

from lockgate.protocols.mcp.jsonrpc import Malformed


def is_plain(name: str) -> bool:
    """Whether a name is its own only spelling: no spaces around it, nothing invisible, normalised (NFKC, UAX 15)."""
    return name.isprintable() and name == name.strip() and (name.isascii() or unicodedata.is_normalized("NFKC", name))


def verify_name(name: str) -> None:
    """`Malformed` for a name that a server may take for another one."""
    if not is_plain(name):
        raise Malformed("a name has spaces around it, invisible characters, or characters that stand for others")

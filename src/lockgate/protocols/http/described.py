"""What `lockgate check` says of an OpenAPI document, and of conditions that name operations."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from lockgate.govern.policy.tokens import comparisons, tokens_of
from lockgate.model import Rule
from lockgate.protocols.http.listing import Listing
from lockgate.protocols.http.settings import HttpSettings
from lockgate.wire.spec import Enforcement

_ROW = "openapi"


def described(connection: str, options: HttpSettings) -> Iterator[Enforcement]:
    """What the document gives, and what of the connection does not fit it."""
    api = options.api
    if api is None or options.openapi is None:
        return
    paths = len({operation.template for operation in api.operations.values()})
    below = ", ".join(base or "/" for base in api.bases)
    what = "is refused with 403" if options.unlisted == "deny" else "passes, and has no operation"
    yield Enforcement(
        connection, "*", _ROW, f"{len(api.operations)} operations on {paths} paths below {below} of {options.openapi.name} "
        f"(OpenAPI {api.version}{', ' * bool(api.title)}{api.title}); what it does not list {what}")
    listing = Listing.of(options)
    for path in options.graphql:
        if listing.place("POST", tuple(path.split("/")[1:])).unlisted is not None:
            yield Enforcement(connection, "*", _ROW, "", None, f"`graphql` names {path}, and the OpenAPI document lists no POST "
                              "to it: every request there is refused")


def named_in(connection: str, rule: Rule, options: HttpSettings) -> Iterator[Enforcement]:
    """Operations that a rule's condition names and no request of the connection can have."""
    if not rule.when or "operation" not in rule.when:
        return
    known = {} if options.api is None else options.api.operations
    words = dict.fromkeys(one.literal for one in comparisons(tokens_of(rule.when)) if one.fact == "operation")
    for word in words:
        if word and word not in known:
            near = difflib.get_close_matches(word, known, 1, 0.6)
            advice = (f"write {near[0]}" if near else "name the connections that the rule is for, if it is meant for others")
            why = ("the connection has no OpenAPI document, so no request has an operation" if options.api is None
                   else f"the OpenAPI document has no operation {word}")
            yield Enforcement(connection, rule.name, f"operation {word}", "no request has it", None, f"{why}; {advice}", rule.when)

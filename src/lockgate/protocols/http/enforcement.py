"""How each rule is held on a connection: the protocol's rows of the enforcement table (I5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lockgate.govern.masking.detectors import DETECTORS
from lockgate.model import ColumnMask, RequestAction, ReviewMode, Rule
from lockgate.protocols.http.described import described, named_in
from lockgate.protocols.http.settings import HttpSettings, settings_of
from lockgate.wire.spec import Enforcement

WEBSOCKET: Final = "websocket"
"""The row that says what becomes of WebSockets."""
_REQUESTS = {
    RequestAction.RECORD: "a find goes on record", RequestAction.MASK: "a find is replaced before it goes on",
    RequestAction.BLOCK: "a find is refused with 403",
}


def enforce(
    connection: str, settings: Any, rules: Sequence[Rule], catalogue: Any  # noqa: ARG001 - the contract
) -> list[Enforcement]:
    """Rows for `lockgate check`; a row with a problem stops the connection."""
    options = settings_of(settings)
    rows: list[Enforcement] = []
    if options.inject == "oauth2":
        rows.append(Enforcement(connection, "*", "credential", f"an access token of {options.token_url}, fetched when there is "
                                "none that lives for a while, and anew behind a 401"))
    elif options.inject == "aws":
        content = "large content is not" if options.unsigned_payload else "content is held until it is whole"
        rows.append(Enforcement(
            connection, "*", "credential", f"requests are signed for {options.service} in {options.region} (AWS Signature "
            f"Version 4); {content}"))
    rows += described(connection, options)
    if not options.tunnel:
        rows.append(Enforcement(connection, "*", WEBSOCKET, (
            "each message of a client is judged (verb send), each of the backend is behind its masks; none is compressed"
            if options.websocket == "allow" else "refused (websocket: deny)")))
    for rule in rules:
        rows += _of_rule(connection, rule, options)
        rows += named_in(connection, rule, options)
    return rows


def _of_rule(connection: str, rule: Rule, options: HttpSettings) -> list[Enforcement]:
    rows: list[Enforcement] = []

    def add(control: str, how: str, problem: str | None = None, *, subject: str = "") -> None:
        rows.append(Enforcement(connection, rule.name, control, how, problem, None, subject))

    when = f" where {rule.when}" if rule.when else ""
    if options.tunnel and (rule.masks or rule.detects or rule.requests):
        add("tunnel", "", "the connection is a blind tunnel (`tunnel: true`), in which nothing can be looked into; name the "
            "connections that the rule is for, or take `tunnel` away")
        return rows
    if rule.allow:
        add("allow", f"admitted with its first request; each request is judged{when}")
    if rule.deny is not None:
        add("deny", f"refused with 403 before anything is forwarded{when}")
    if rule.review is not None:
        held = (f"held for {options.patience}, then refused with its ticket; a retry after approval goes through"
                if rule.review.mode is ReviewMode.HOLD else "refused with its ticket; a retry after approval goes through")
        add("review", f"{held}; decided by {', '.join(sorted(rule.review.by))} within {rule.review.expires:g} s{when}")
    if rule.audit is not None:
        add("audit", "intent durable before the bytes leave" if rule.audit.value == "full"
            else "intent queued before the bytes leave")
    for mask in rule.masks:
        add(f"mask {_named(mask)}", *_mask(mask, options))
    for detect in rule.detects:
        for name in detect.detectors:
            known = name in DETECTORS or any(custom.name == name for custom in detect.customs)
            add(f"detect {name}", "detector on fields and content of answers, in any form that is text; binary content is "
                f"{'passed' if options.binary == 'allow' else 'refused'}" if known else "",
                None if known else f"there is no detector {name}")
    for check in rule.requests:
        for name in check.detectors:
            add(f"requests {name}", f"detector on target, fields and content of requests; {_REQUESTS[check.action]}{when}")
    for bound in ("rows", "task_rows", "changed"):
        if getattr(rule.limits, bound) is not None:
            add(f"limit {bound}", "", "an HTTP answer has no rows to count; name the connections that the rule is for")
    for rate in rule.limits.rates:
        add(f"limit requests {rate.count} in {rate.seconds} s", "token bucket for each identity's agent, over all its "
            f"connections to the gateway; above it 429 with Retry-After{when}")
    if rule.limits.bytes is not None:
        add(f"limit bytes {rule.limits.bytes}", "content counted as it leaves, over all sessions of an identity's agent; "
            f"spent, the next request is refused with 429, an answer that has begun is not cut{when}")
    return rows


def _named(mask: ColumnMask) -> str:
    return mask.label or ", ".join((*mask.columns, *mask.names, *mask.paths)) or "new columns"


def _mask(mask: ColumnMask, options: HttpSettings) -> tuple[str, str | None]:
    if mask.is_new:
        return "", "an HTTP backend has no list of columns; `new_columns` is for databases, so name the connections"
    if not (mask.columns or mask.names or mask.paths):
        return "nothing: types of columns are for databases", None
    text = "in running text only detectors look" if options.text == "allow" else "running text is refused"
    how = (f"{mask.method.name.lower()} of members, form fields, CSV columns and XML elements of these names in answers, "
           f"arrays looked through; {text}")
    return how, None

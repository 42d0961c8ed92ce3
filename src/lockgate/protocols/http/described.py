"""What `lockgate check` says of an OpenAPI document, and of conditions that no request of the connection can satisfy."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence

from lockgate.govern.policy.tokens import Token, comparisons, literal, text, tokens_of
from lockgate.model import Rule
from lockgate.protocols.http.listing import Listing
from lockgate.protocols.http.settings import HttpSettings
from lockgate.wire.spec import Enforcement

_ROW = "openapi"
_OF_LISTS = ("query", "headers", "form")        # facts that give a list of values for each name
_ADVICE = "name the connections that the rule is for, if it is meant for others"


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
    """What a rule's condition compares with and no request of the connection can have."""
    if not rule.when:
        return
    tokens = tokens_of(rule.when)
    for written, better in _lists_as_texts(tokens):
        yield Enforcement(connection, rule.name, "condition", "", f"`{written}` is a list, since a name may be given more than once, and "
                          f"is never equal to a text; write `{better}`", None, rule.when)
    compared = dict.fromkeys((one.fact, one.literal) for one in comparisons(tokens) if one.literal)
    for fact, word in compared:
        why = _missing(fact, word, options)
        if why:
            yield Enforcement(connection, rule.name, f"{fact} {word}", "no request has it", None, why, rule.when)


def _missing(fact: str, word: str, options: HttpSettings) -> str:
    """Why no request has this word as the fact, and what to write; "" where one may."""
    api = options.api
    operations = {} if api is None else api.operations
    match fact:
        case "operation" if api is None:
            return f"the connection has no OpenAPI document, so no request has an operation; {_ADVICE}"
        case "operation" if word not in operations:
            return f"the OpenAPI document has no operation {word}; {_nearest(word, operations)}"
        case "template":
            known = {*options.paths, *(one.template for one in operations.values())}
            if not known:
                return f"the connection has neither `paths` nor an OpenAPI document, so no request has a template; {_ADVICE}"
            whose = "`paths` of the connection have" if api is None else "the OpenAPI document has"
            return "" if word in known else f"{whose} no template {word}; {_nearest(word, known)}"
        case "method" if word != word.upper():
            return f'methods are written in capitals; write "{word.upper()}", or `op.verb` with "{word.lower()}"'
    return ""


def _nearest(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"write {near[0]}" if near else _ADVICE


def _lists_as_texts(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """Each ``op.query.x == "y"``: what is a list there, and what to write instead."""
    for at in range(len(tokens)):
        if text(tokens, at) != "op" or text(tokens, at + 1) != "." or text(tokens, at + 2) not in _OF_LISTS:
            continue
        end = at + 5 if text(tokens, at + 3) == "." else at + 6
        written = "".join(token.text for token in tokens[at:end])
        for sign, place in ((end, end + 1), (at - 1, at - 2)):
            word = literal(tokens, place)
            if text(tokens, sign) in ("==", "!=") and word is not None:
                inside = f'"{word}" in {written}'
                yield written, inside if text(tokens, sign) == "==" else f"!({inside})"

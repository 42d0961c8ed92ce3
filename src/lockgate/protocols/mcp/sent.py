"""What a client sends by value, before any of it goes on: arguments of tools and prompts, answers to the server.

Apart from `shown`, the other direction. Tokens become the values that they stand for where their mask lets them return, a
mask that would be stored is refused, and what detectors find is recorded, replaced or refused, as policy's `requests` say.
Only values are replaced: the name of a tool, a URI, an id say what the message is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from lockgate.govern.masking.bodies import BodyTerms, check_field, check_text, json_check
from lockgate.govern.masking.requests import ContentCheck
from lockgate.govern.masking.tokens import Tokens
from lockgate.kernel.json_places import members
from lockgate.model import Decision, MaskMethod, Refusal, RefusalCode, RequestAction
from lockgate.protocols.mcp.jsonrpc import Message

_ENVELOPE: Final = frozenset(("jsonrpc", "id", "method"))
_FIXED: Final = frozenset(("name", "uri", "ref", "_meta", "cursor", "protocolVersion", "capabilities", "requestId"))


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as it goes on, or why it does not. `noted` are the finds that go on record."""

    text: str
    noted: tuple[str, ...] = ()
    refusal: Refusal | None = None


def looked_at_beside(
    fields: Iterable[tuple[str, bytes]], address: Iterable[bytes], terms: BodyTerms, decision: Decision
) -> Sent:
    """The look at what stands beside messages: (name, value) of header fields, and the texts of the target. Nothing is replaced
    in them, so a find that may not go on refuses the request."""
    check = ContentCheck(decision.requests, None, guards=False)
    plain = replace(terms, detects=(), masks=())
    changed = [name for name, value in fields if check_field(plain, check, value, name) != value]
    changed += ["the address" for text in address if check_text(plain, check, text) != text]
    noted = tuple(f"sent: {name}" for name, count in check.found.items() for _ in range(count))
    if not changed:
        return Sent("", noted)
    return Sent("", noted, Refusal(
        RefusalCode.DENIED, f"what goes on beside the message holds what policy does not let through: {', '.join(sorted(check.found))}",
        hint=f"Take it out of {', '.join(sorted(set(changed)))}. Nothing was forwarded."))


def looked_at(message: Message, terms: BodyTerms, decision: Decision) -> Sent:
    """The look at one message under one decision."""
    if not decision.looks_at_requests:
        return Sent(message.text)
    tokens = None if terms.keys is None else Tokens(terms.keys, terms.scope)
    check = ContentCheck(decision.requests, tokens, guards=bool(decision.masks or decision.detects))
    returns = terms.keys is not None and any(
        mask.method is MaskMethod.TOKEN and mask.returns for mask in terms.masks)
    if check.is_idle and not returns:
        return Sent(message.text)
    try:
        text, is_moved = _checked(message.text, terms, check)
    except ValueError:
        return Sent(message.text, refusal=_NOT_READ)
    noted = tuple(f"sent: {name}" for name, count in check.found.items() for _ in range(count))
    if check.has_mask:
        return Sent(text, noted, _MASK)
    if check.action is RequestAction.BLOCK:
        return Sent(text, noted, Refusal(
            RefusalCode.DENIED, f"the request holds what policy does not let through: {', '.join(sorted(check.found))}",
            hint="Take it out of the arguments. Nothing was forwarded."))
    return Sent(text, noted, _NOT_DATA if is_moved else None)


def _checked(text: str, terms: BodyTerms, check: ContentCheck) -> tuple[str, bool]:
    """The message's text with other values where some have to be replaced; True where one had to be that cannot."""
    out: list[str] = []
    at, is_moved = 0, False
    look = json_check(terms, check, text)
    for name, _, start, end in members(text, text.index("{")):
        if name in _ENVELOPE:
            continue
        if name != "params":
            out += (text[at:start], look(text[start:end]))
            at = end
            continue
        for inner, _, first, last in members(text, start):
            new = look(text[first:last])
            if inner in _FIXED:
                is_moved = is_moved or new != text[first:last]
                continue
            out += (text[at:first], new)
            at = last
    return "".join((*out, text[at:])), is_moved


_NOT_DATA: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "a name or URI of the request holds a value that policy replaces, and cannot be replaced",
    hint="Nothing was forwarded. Send it in the arguments, or not at all.")
_NOT_READ: Final = Refusal(
    RefusalCode.NOT_UNDERSTOOD, "the request's values cannot be looked into", hint="Nothing was forwarded.")
_MASK: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "a value of this request is a mask and would be stored in the place of data",
    hint="A mask stands for data that you may not see. Leave the argument out, or use a value of your own.")

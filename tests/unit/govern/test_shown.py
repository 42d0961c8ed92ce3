"""What is kept of a request: no credential, and a binding that is exact without giving one away."""

from __future__ import annotations

from lockgate.govern.review import bound_hash
from lockgate.govern.shown import Shown
from lockgate.model import Operation
from tests.unit.govern.fakes import identity


def operation(text: str, *parameters: str | None, context: tuple[str, ...] = ()) -> Operation:
    return Operation("p", "query", frozenset({"alter"}), text, text, parameters=parameters, context=context)


def test_what_holds_nothing_is_passed_on_as_it_is() -> None:
    """The common case costs a look and makes nothing new."""
    asked, sent = operation("SELECT 1", "7", None), b"SELECT 1"
    shown, forward = Shown().of(asked, sent)
    assert shown is asked
    assert forward is sent


def test_text_parameters_context_and_bytes_are_without_it() -> None:
    """Wherever the request holds it."""
    asked = operation("ALTER ROLE r PASSWORD 'c4nary'", "postgres://u:c4nary@h", None, context=("SET x.secret = 'c4nary'",))
    shown, forward = Shown().of(asked, b"ALTER ROLE r PASSWORD 'c4nary'")
    assert "c4nary" not in repr(shown.text) + repr(shown.parameters) + repr(shown.context) + repr(shown.reading)
    assert b"c4nary" not in forward
    assert shown.key == asked.key


def test_an_approval_is_for_the_exact_request_still() -> None:
    """Two passwords look the same and bind to different hashes, which nobody can compute who lacks this process's key."""

    def bound(shown: Shown, text: str) -> str:
        return bound_hash(identity("ann"), "crm", "policy", shown.of(operation(text))[0])

    one, other = Shown(), Shown()
    assert bound(one, "ALTER ROLE r PASSWORD 'a'") == bound(one, "ALTER ROLE r PASSWORD 'a'")
    assert bound(one, "ALTER ROLE r PASSWORD 'a'") != bound(one, "ALTER ROLE r PASSWORD 'b'")
    assert bound(one, "ALTER ROLE r PASSWORD 'a'") != bound(other, "ALTER ROLE r PASSWORD 'a'")

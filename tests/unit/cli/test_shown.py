"""What a client wrote, on a reviewer's screen: it stays behind its gutter."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from lockgate.cli.review import show
from lockgate.cli.shown import GUTTER, clean, framed, one_line, valued

ENTRY = {
    "ticket": "LG-7F3K-92QD", "state": "pending", "statement": "DELETE FROM t", "parameters": [], "connection": "crm",
    "requester": {"issuer": "https://i", "subject": "agent-1", "agent": None}, "rules": ["r"], "context": [],
    "reviewer_groups": [["dba"]], "age": 1.0, "expires_in": 9.0, "reviewer": None, "comment": None,
}


def printed(width: int | None = None, **more: object) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, highlight=False, force_terminal=width is not None, width=width or 200, color_system=None)
    show(console, {**ENTRY, **more})
    return out.getvalue().splitlines()


def test_a_statement_cannot_imitate_other_fields() -> None:
    """Every line of it stands behind the gutter, on a narrow terminal every row."""
    text = "DELETE FROM t\n$1 harmless\nmay decide nobody\n" + "x" * 300 + " $2 faked"
    for width in (None, 40):
        lines = printed(width, statement=text)
        assert not [line for line in lines if line.startswith(("$1", "$2", "may decide nobody"))]
        rows = [line for line in lines if line.startswith(GUTTER)]
        assert "".join(row[len(GUTTER):] for row in rows).replace("\n", "") == text.replace("\n", "")


def test_a_long_statement_shows_its_end_and_its_length() -> None:
    """What is pushed off the screen is said to be missing; head and tail are there."""
    lines = printed(statement="\n".join(["SELECT 1", *("" for _ in range(500)), "; DROP TABLE t"]))
    assert any("SELECT 1" in line for line in lines)
    assert any("DROP TABLE" in line for line in lines)
    assert any("502 lines" in line for line in lines)
    assert len(lines) < 60


def test_parameters_are_on_one_line_each() -> None:
    """A newline in a value is an escape, and is told from a backslash and an n."""
    lines = printed(parameters=["a\n$2 faked", r"a\n", None])
    assert r"$1 a\n$2 faked" in lines
    assert r"$2 a\\n" in lines
    assert "$3 NULL" in lines


def test_the_context_is_shown() -> None:
    """The reviewer reads what the session did before, each on one line."""
    lines = printed(context=["set: SET search_path\n= evil"])
    assert r"besides    set: SET search_path\n= evil" in lines


@given(st.text(max_size=200), st.integers(20, 100))
def test_rows_fit_and_hold_everything(text: str, width: int) -> None:
    """No row is wider than the terminal, none is without gutter, nothing is lost."""
    rows = framed(text, width)
    if len(rows) <= 40:
        assert all(row.startswith(GUTTER) and cell_len(row) <= width for row in rows)
        assert "".join(row[len(GUTTER):] for row in rows) == clean(text).replace("\n", "")
    shown = valued("$1 ", text, width)
    assert all(cell_len(row) <= width for row in shown)
    assert "\n" not in one_line(text)

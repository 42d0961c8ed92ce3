"""`--from` and `--to` are times, `--first` and `--last` numbers, in every command that reads the log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.cli import audit
from lockgate.cli.period import period_of
from tests.unit.audit.logs import Driven, Ticking

RUN = CliRunner()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0 start · 1–4 at 08:00:01 · 5–8 at 08:00:02 · 9–12 at 08:00:03 · 13 stop, on 15 January 2027."""
    place, clock = tmp_path_factory.mktemp("period"), Ticking()
    driven = Driven(place / "audit", clock=clock)
    for number in range(3):
        clock.time += 1
        driven.begin(f"s{number}")
        driven.run(f"s{number}")
        driven.log.end_session(f"s{number}", "closed")
    driven.log.close()
    return place


def entries(state: Path, tmp_path: Path, *span: str) -> list[list[int]]:
    """The entries that each command takes for a span."""
    where = ("--state", str(state))
    asked = RUN.invoke(audit.app, ["query", "SELECT index FROM leaves ORDER BY index", "--format", "json", *where, *span])
    told = RUN.invoke(audit.app, ["events", *where, *span])
    written = RUN.invoke(audit.app, ["parquet", "--out", str(tmp_path / "out"), *where, *span])
    for result in (asked, told, written):
        assert result.exit_code == 0, result.output
    (file,) = (tmp_path / "out").iterdir()
    first, last = (int(part) for part in file.stem.split("-")[1:])
    return [[json.loads(line)["index"] for line in asked.output.splitlines()],
            sorted({json.loads(line)["metadata"]["sequence"] for line in told.output.splitlines()}),
            list(range(first, last + 1))]


@pytest.mark.parametrize(("span", "first", "last"), [
    (("--from", "2027-01-15T08:00:02Z"), 5, 13), (("--to", "2027-01-15T08:00:01Z"), 0, 4),
    (("--from", "2027-01-15T09:00:02+01:00", "--to", "2027-01-15T09:00:02+01:00"), 5, 8),
    (("--from", "2027-01-15 08:00:01.500", "--to", "2027-01-15t08:00:02.999z"), 5, 8),
    (("--from", "2027-01-15", "--to", "2027-01-15"), 0, 13), (("--first", "3", "--last", "6"), 3, 6),
    (("--from", "2027-01-15T08:00:02Z", "--last", "6"), 5, 6), (("--first", "9", "--last", "99"), 9, 13),
])
def test_times_and_numbers_name_the_same_entries_everywhere(
    state: Path, tmp_path: Path, span: tuple[str, ...], first: int, last: int,
) -> None:
    """Both ends are included; an offset counts, without one UTC is meant, and a day is all of it."""
    asked, told, written = entries(state, tmp_path, *span)
    assert asked == written == list(range(first, last + 1))
    assert set(told) <= set(asked)
    assert told[0] - first <= 2     # an outcome is told with its request
    if "--first" not in span and "--last" not in span:
        own = shutil.copytree(state, tmp_path / "own")      # an export is an entry
        made = RUN.invoke(audit.app, ["export", "--state", str(own), "--out", str(tmp_path / "e.tar"), *span])
        assert f"entries {first} to {last} of 14" in made.output, made.output


@pytest.mark.parametrize("words", [
    ["query", "SELECT 1"], ["events"], ["parquet", "--out", "{out}"], ["export", "--out", "{out}"],
])
def test_a_number_that_is_given_for_a_time_is_wrong_usage(state: Path, tmp_path: Path, words: list[str]) -> None:
    """The old spelling says what the new one is; what is no time says how one is written. Nothing is written."""
    out = tmp_path / "out"
    for option, value, said in (("--from", "4", "--first 4"), ("--to", "20261101", "--last 20261101"),
                                ("--from", "yesterday", "2026-01-31T12:00:00+01:00"), ("--to", "2026-13-01", "is no time"),
                                ("--from", "2999-01-01", "no entry"), ("--to", "1999-01-01", "no entry")):
        result = RUN.invoke(audit.app, [*(word.format(out=out) for word in words), option, value, "--state", str(state)])
        assert (result.exit_code, said in result.stderr) == (4, True), result.output
        assert not out.exists()


def test_what_is_followed_has_no_end_in_time(state: Path) -> None:
    """`--follow` waits for what is not written yet, so an end in time would be a promise about clocks."""
    result = RUN.invoke(audit.app, ["events", "--follow", "--to", "2999-01-01", "--state", str(state)])
    assert result.exit_code == 4
    assert "leave out --to" in result.stderr


def test_a_day_ends_with_its_last_millisecond() -> None:
    """`--to` of a day is the whole of it, as a person means it."""
    assert period_of("2026-01-31", "2026-01-31").end == period_of("2026-02-01", None).start - 1  # type: ignore[operator]

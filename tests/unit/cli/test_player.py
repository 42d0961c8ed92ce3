"""The player's logic: time, keys, jumps and search, on a screen and a clock of the test's."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.cli.played import Moment
from lockgate.cli.player import FASTEST, SLOWEST, Player

STATEMENTS = [Moment(0.0, "\n[0:00.000] statement 1\n    one\n", is_stop=True), Moment(1.0, "    row a\n"),
              Moment(10.0, "\n[0:10.000] statement 2\n    two\n", is_stop=True), Moment(11.0, "    row b\n"),
              Moment(20.0, "\n[0:20.000] statement 3\n    three\n", is_stop=True), Moment(21.0, "    row A\n")]
PICTURE = [Moment(0.0, "\x1b[1mhel"), Moment(1.0, "lo\x1b[0m "), Moment(8.0, "world"), Moment(9.0, "!")]


class Script:
    def __init__(self, moments: list[Moment], *, is_terminal: bool = False) -> None:
        self._moments = moments
        self.is_terminal = is_terminal

    def moments(self) -> Iterator[Moment]:
        return iter(self._moments)


class Screen:
    """Keys come when the test's time has come: ``3.0 space`` is the space bar three seconds after the beginning."""

    def __init__(self, *keys: tuple[float, str], lines: tuple[str, ...] = ()) -> None:
        self.time = 100.0
        self.shown: list[tuple[float, str]] = []
        self.said: list[str] = []
        self.cleared = 0
        self._keys = [(100.0 + at, key) for at, key in keys]
        self._lines = list(lines)

    def write(self, text: str) -> None:
        self.shown.append((self.time - 100.0, text.strip().splitlines()[-1].strip() if text.strip() else ""))

    def status(self, text: str) -> None:
        self.said.append(text)

    def clear(self) -> None:
        self.cleared += 1

    def now(self) -> float:
        return self.time

    def line(self, prompt: str) -> str:
        return self._lines.pop(0)

    def key(self, seconds: float | None) -> str | None:
        if self._keys and (seconds is None or self._keys[0][0] <= self.time + seconds):
            at, key = self._keys.pop(0)
            self.time = max(self.time, at)
            return key
        if seconds is None:
            return "q"
        self.time += seconds
        return None


def played(script: Script, screen: Screen, **options: float) -> list[tuple[float, str]]:
    at = options.pop("at", 0.0)
    Player(script, screen, **options).run(at)  # type: ignore[arg-type]
    return screen.shown


def test_it_plays_in_the_session_s_own_time() -> None:
    """Each moment when it was, and the end is told."""
    screen = Screen()
    assert played(Script(STATEMENTS), screen) == [
        (0.0, "one"), (1.0, "row a"), (10.0, "two"), (11.0, "row b"), (20.0, "three"), (21.0, "row A")]
    assert "end of the recording" in screen.said[-1]


def test_speed_changes_take_effect_at_once() -> None:
    """Twice as fast from the middle of a wait: what has passed counts at the old speed."""
    assert played(Script(STATEMENTS), Screen((5.0, "+")))[2] == (7.5, "two")
    assert played(Script(STATEMENTS), Screen((5.0, "-")))[2] == (15.0, "two")
    assert round(played(Script(STATEMENTS), Screen(), speed=10.0)[-1][0], 6) == 2.1
    player = Player(Script(STATEMENTS), Screen(), speed=1e9)  # type: ignore[arg-type]
    assert player.speed == FASTEST
    for _ in range(30):
        player._press("-")
    assert player.speed == SLOWEST


def test_a_pause_stands_still() -> None:
    """Until the next space."""
    assert played(Script(STATEMENTS), Screen((5.0, " "), (65.0, " ")))[2] == (70.0, "two")


def test_jumps_to_statements() -> None:
    """On to the next one, back to the beginning of this one, then to the one before; what lies between is not shown."""
    on = played(Script(STATEMENTS), Screen((0.5, "right"), (0.5, "right"), (0.6, "q")))
    assert on == [(0.0, "one"), (0.5, "three")]
    back = played(Script(STATEMENTS), Screen((11.5, "left"), (11.5, "left"), (11.6, "q")))
    assert back == [(0.0, "one"), (1.0, "row a"), (10.0, "two"), (11.0, "row b"), (11.5, "one")]
    assert played(Script(STATEMENTS), Screen((0.5, "left"), (0.6, "q"))) == [(0.0, "one"), (0.5, "one")]


def test_jumps_in_time() -> None:
    """`--at`, ten seconds on and back, and the beginning."""
    assert played(Script(STATEMENTS), Screen(), at=10.5)[0] == (0.5, "row b")
    assert played(Script(STATEMENTS), Screen((0.5, "down"), (0.6, "q")), at=0.0) == [(0.0, "one")]
    assert played(Script(STATEMENTS), Screen((0.5, "down"), (1.2, "q")), at=0.0)[1] == (1.0, "row b")
    assert played(Script(STATEMENTS), Screen((11.5, "up"), (20.4, "q")))[-1] == (20.0, "two")
    assert played(Script(STATEMENTS), Screen((11.5, "0"), (11.6, "q")))[-1] == (11.5, "one")


def test_search_finds_the_next_place_and_stays_where_there_is_none() -> None:
    """In any case; `n` goes on from there."""
    screen = Screen((0.5, "/"), (0.5, "n"), (0.5, "n"), (0.6, "q"), lines=("ROW A",))
    Player(Script(STATEMENTS), screen).run()  # type: ignore[arg-type]
    assert screen.said == ["at 0:01.000", "at 0:21.000", "no further ROW A"] or screen.said[:2] == ["at 0:01.000", "at 0:21.000"]
    assert "no further ROW A" in screen.said
    assert screen.shown[-1] == (0.5, "row A")
    again = Screen((0.5, "/"), (0.6, "q"), lines=("",))
    Player(Script(STATEMENTS), again).run(search="nowhere")  # type: ignore[arg-type]
    assert again.said == ["at 0:00.000  one", "no further nowhere"]


def test_a_terminal_s_picture_is_made_of_all_that_came_before() -> None:
    """A jump writes what lies between, one back begins with an empty screen, and a search sees words across pieces."""
    script = Script(PICTURE, is_terminal=True)
    screen = Screen((0.5, "right"), (0.6, "q"))
    played(script, screen)
    assert [text for _, text in screen.shown] == ["\x1b[1mhel", "lo\x1b[0m"]
    screen = Screen((8.5, "left"), (8.6, "q"))
    played(script, screen)
    assert screen.cleared == 1
    assert [text for _, text in screen.shown][-2:] == ["\x1b[1mhel", "lo\x1b[0m"]
    screen = Screen((0.5, "q"))
    Player(script, screen).run(search="hello")  # type: ignore[arg-type]
    assert screen.said[0].startswith("at 0:01.000")

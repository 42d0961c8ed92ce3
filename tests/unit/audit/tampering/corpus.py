"""Every package of the attacks and the honest ones, made once in a process: for the tests, and for mutants of the verifier
to judge.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lockgate.audit.evidence.report import Report
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.verify import verify_log
from lockgate.model import Outcome, OutcomeStatus
from tests.unit.audit.logs import Driven, Ticking, review_events
from tests.unit.audit.logs import binding as bound
from tests.unit.audit.packages import exported, listed
from tests.unit.audit.tampering import honest as log
from tests.unit.audit.tampering.archives import ALTERED, ROOT, Honest, _policy, honest_packages
from tests.unit.audit.tampering.forge import Forge
from tests.unit.audit.tampering.rewrites import REWRITES, honest_rewrites


class Judged(NamedTuple):
    """A package and what its auditor has pinned. `is_whole` where it is honest. `folder` is the verifier's report on the
    log's folder, where the attack was on that; one that cannot be exported has no package.
    """

    name: str
    package: bytes
    pins: Pins
    is_whole: bool
    folder: Report | None = None


_TEMPORARY = tempfile.TemporaryDirectory(prefix="lockgate-corpus-")


@cache
def honest_log() -> Honest:
    """The log that is attacked. Its folder stays until the process ends."""
    return Honest(log.honest(Path(_TEMPORARY.name) / "log"))


@cache
def corpus() -> list[Judged]:
    """The honest ones first."""
    honest = honest_log()
    with tempfile.TemporaryDirectory(prefix="lockgate-corpus-") as root:
        folder = Path(root)
        found = [Judged(name, package, honest.pins_of(name), True) for name, package in honest.packages.items()]
        found += [Judged("kept", honest.packages["whole"], honest.pins._replace(
            against=honest.forge.sign(size, honest.forge.root(size))), True) for size in (1, 17, 24)]
        found.append(Judged("kept of a part", honest.packages["session"], honest.pins._replace(
            against=honest.forge.sign(24, honest.forge.root(24))), True))
        found += [Judged(name, package, pins, True) for name, package, pins in honest_packages(honest)]
        found.append(_many(honest, folder))
        found += [Judged("own policy", honest.packages["trusted"], Pins(key=honest.key, policy=_policy(2)), True),
                  Judged("no quorum", _unwitnessed(honest), honest.root, True)]
        found += _ranges(folder / "ranges" / "log")
        for name, rewrite in honest_rewrites():
            forge = Forge(honest.folder)
            rewrite(forge)
            written = forge.write(folder / name / "log")
            report = verify_log(written, key=written / "log.vkey")
            pins = Pins(key=str(forge.signer.verifier))
            found += [Judged(name, exported(written, **asked), pins, True, report) for asked in _questions()]
        for case in REWRITES:
            forge = Forge(honest.folder)
            case.rewrite(forge)
            written = forge.write(folder / case.name / "log")
            report = verify_log(written, key=honest.folder / "log.vkey")
            package = exported(written, **case.asked) if case.in_package else b""
            found.append(Judged(case.name, package, honest.pins, False, report))
        found += [Judged(case.name, case.made(honest), case.pinned(honest), False) for case in ALTERED]
    return found


def _many(honest: Honest, folder: Path) -> Judged:
    """More payloads missing than are named."""
    forge = Forge(honest.folder)
    for number in range(120):
        row = forge.new("note", {"number": number})
        row.is_kept = False
        forge.insert(13, row)
    return Judged("many", exported(forge.write(folder / "many" / "log")), honest.pins, False)


def _unwitnessed(honest: Honest) -> bytes:
    """By a trust note that asks for no witness, and none was there."""
    files = honest.files("trusted")
    text = honest.trust().partition("\n\n")[0].replace("quorum most", "quorum none") + "\n"
    note = f"{text}\n{ROOT.line(text)}".encode()
    return listed({name: note if name == "trust.note" else data for name, data in files.items()
                   if not name.startswith("cosigned")})


def _questions() -> list[dict[str, Any]]:
    return [{}, {"session": log.A}, {"session": log.B}]


def _ranges(folder: Path) -> list[Judged]:
    """Packages that begin and end anywhere: sessions cut in two, reviews from before, a session that is open."""
    clock = Ticking()
    driven = Driven(folder, clock=clock)
    driven.begin("early")
    for event in review_events("T1", "alice", "carol", "early"):
        driven.log.event(event)
    for number in range(3):
        clock.time += 1
        driven.begin(f"s{number}", "erin")
        clock.time += 0.25
        asked_for = driven.intent(f"s{number}", f"SELECT {number}")
        clock.time += 0.25
        driven.log.outcome(Outcome(f"s{number}", asked_for, OutcomeStatus.OK, 1, 20, {}, 0.25))
        driven.run("early")
        if number:
            driven.log.end_session(f"s{number - 1}", "closed")
    driven.run("early", "DELETE FROM customers", decision="review", ticket="T1", binding=bound("alice", "DELETE FROM customers"))
    driven.log.end_session("early", "closed")
    clock.time += 1
    driven.intent("s2")
    driven.log.heartbeat()
    driven.intent("s2")
    pins = Pins(key=(folder / "log.vkey").read_text())
    begin = int(Ticking().time * 1000)
    asked: list[dict[str, Any]] = [
        {}, {"session": "early"}, {"session": "s1"}, {"session": "s2"}, {"subject": "erin"}, {"subject": "alice"},
        {"start": begin + 2_000}, {"end": begin + 2_000}, {"start": begin + 1_500, "end": begin + 2_500},
        {"start": begin + 3_500}, {"subject": "erin", "payloads": False}, {"withhold": ((2, 2), (4, 9))},
        {"start": begin + 2_600}, {"start": begin + 2_900},
    ]
    found = [Judged(f"range {number}", exported(folder, **question), pins, True) for number, question in enumerate(asked)]
    driven.log.close()
    return found

"""Having the log cosigned: offers the newest checkpoint to every witness, and says when too little came of it.

The note with the cosignatures that make the quorum is `<state>/audit/cosigned`, and the policy that it meets
`<state>/audit/witness.policy`. In mode `require` the
log takes nothing new before the first quorum and while the newest one is too old. A witness that has
seen another log under this name stops a start; later it is an alarm, and in mode `require` the end of
new requests.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import structlog

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import NOTE_LIMIT, SignedNote, parse_note, parse_tree
from lockgate.audit.evidence.policy import KnownWitness, Policy, parse_policy
from lockgate.audit.failures import Conflict
from lockgate.audit.keys import COSIGNED_FILE, POLICY_FILE, write_durably
from lockgate.audit.storage.contract import Source
from lockgate.audit.witness.client import Cosigned, Forked, Later, Outcome, offer
from lockgate.audit.witness.exchange import BODY_LIMIT, PATH, Answer
from lockgate.audit.witness.prover import Prover
from lockgate.config.duration import seconds
from lockgate.config.endorsement import WitnessSettings
from lockgate.errors import ConfigError
from lockgate.net.outbound import Poster

log = structlog.get_logger("lockgate")


class Witnessing:
    """The gateway's side of its witnesses. `run` is called from one thread at a time, the rest from any."""

    def __init__(
        self, settings: WitnessSettings, folder: Path, open_source: Callable[[], Source], now: Callable[[], float],
    ) -> None:
        self._policy = read_policy(settings.policy)
        # Beside the log, for whoever verifies or exports it here: which witnesses there are.
        write_durably(folder / POLICY_FILE, settings.policy.read_bytes(), 0o644)
        self._required = settings.mode == "require"
        self._max_lag = seconds(settings.max_lag)
        self._path = folder / COSIGNED_FILE
        self._open_source = open_source
        self._now = now
        self._poster = Poster(seconds(settings.timeout), BODY_LIMIT, settings.ca)
        self._prover = Prover()
        self._sizes: dict[str, int] = {}
        self._conflict: str | None = None
        self.size, self.since = self._last()

    def run(self) -> None:
        """Offer the newest checkpoint once. Raises `Conflict` where a witness has seen another log."""
        with self._open_source() as source:
            head = source.head()
            if not head.note:
                return
            signed = parse_note(head.note)
            outcomes = {witness.name: self._offer(source, signed, witness)
                        for witness in self._policy.witnesses if witness.url is not None}
        self._keep(signed, outcomes)
        forks = [f"{name}: {outcome.reason}" for name, outcome in outcomes.items() if isinstance(outcome, Forked)]
        self._conflict = "; ".join(forks) or None
        if forks:
            raise Conflict(f"a witness has seen another log under this name: {self._conflict}",
                           advice="the log was rolled back or forked, or the witness is false; keep both as evidence")

    def problem(self) -> str | None:
        """Why nothing new may be let through now, or None. Always None in mode `warn`."""
        return self.lateness() if self._required else None

    def lateness(self) -> str | None:
        """What is wrong with the newest quorum, in either mode; None while all is well."""
        if self._conflict is not None:
            return f"a witness has seen another log under this name: {self._conflict}"
        if not self.since:
            return "no checkpoint was cosigned by the quorum of witnesses yet"
        lag = self._now() - self.since
        if lag > self._max_lag:
            return f"the newest checkpoint that a quorum of witnesses cosigned is {lag:.0f} s old"
        return None

    @property
    def lag(self) -> float:
        """Seconds since the newest quorum; infinite before the first one."""
        return self._now() - self.since if self.since else float("inf")

    def close(self) -> None:
        """Close its connections."""
        self._poster.close()

    # ------------------------------------------------------------ one round

    def _offer(self, source: Source, signed: SignedNote, witness: KnownWitness) -> Outcome:
        steps = offer(signed, witness.key, self._sizes.get(witness.name, 0),
                      lambda old, new: self._prover.prove(source, old, new), self._now())
        outcome = self._drive(steps, f"{str(witness.url).rstrip('/')}{PATH}")
        if isinstance(outcome, Cosigned):
            self._sizes[witness.name] = parse_tree(signed.text).size
        else:
            (log.warning if isinstance(outcome, Later) else log.error)(
                "not cosigned", witness=witness.name, outcome=type(outcome).__name__.lower(), reason=outcome.reason)
        return outcome

    def _drive(self, steps: Generator[bytes, Answer, Outcome], url: str) -> Outcome:
        try:
            body = next(steps)
            while True:
                body = steps.send(Answer(*self._poster.post(url, body, "text/plain")))
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome

    def _keep(self, signed: SignedNote, outcomes: dict[str, Outcome]) -> None:
        given = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Cosigned)}
        when = self._policy.vouched_at([(name, outcome.timestamp) for name, outcome in given.items()])
        if when is None:
            return
        note = f"{signed.text}\n{signed.signatures[0].line}{''.join(outcome.line for outcome in given.values())}"
        self._policy.require_quorum(parse_note(note))
        write_durably(self._path, note.encode(), 0o644)
        self.size = parse_tree(signed.text).size
        self.since = float(when)

    def _last(self) -> tuple[int, float]:
        """Size and time of what is kept from before, if it meets the policy that is in force."""
        with suppress(OSError, UnicodeDecodeError, EvidenceError):
            signed = parse_note(self._path.read_bytes()[:NOTE_LIMIT].decode())
            when = self._policy.vouched_at(self._policy.cosignatures(signed))
            if when is not None:
                return parse_tree(signed.text).size, float(when)
        return 0, 0.0


def read_policy(path: Path) -> Policy:
    """The witnesses' policy file. Raises `ConfigError`, also where it asks for nobody."""
    try:
        policy = parse_policy(path.read_bytes()[:NOTE_LIMIT].decode())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except EvidenceError as error:
        raise ConfigError(f"{path}: {error.message}") from None
    reachable = {witness.name for witness in policy.witnesses if witness.url is not None}
    if policy.is_quorum(set()) or not policy.is_quorum(reachable):
        raise ConfigError(f"{path}: its quorum asks for nobody, or for witnesses without a URL",
                          advice="name a quorum that the witnesses with URLs can form")
    return policy

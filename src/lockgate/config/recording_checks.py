"""What no single value shows of recordings: that somebody can play what is to be recorded, and that a rule can be kept.

Apart from `checks` and `policy_checks`, because a recording is asked for in three places. Each yields (location, sentence).
"""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.config.document import Location
from lockgate.config.policies import PolicySettings
from lockgate.config.policy_checks import Known, Problem
from lockgate.config.settings import Settings

_AT: Location = ("audit", "recording")


def check_recording(settings: Settings, known: Known) -> Iterator[Problem]:
    """Recipients, and everything that asks for a recording without one."""
    recipients = settings.audit.recording.recipients
    for place, recipient in enumerate(recipients):
        trouble = None if known.recipient is None else known.recipient(recipient)
        if trouble is not None:
            yield (*_AT, "recipients", place), trouble
    for index, policy in enumerate(settings.policies):
        yield from _policy(("policies", index), policy)
    if recipients:
        return
    for at, who in _askers(settings):
        yield at, (f"{who} asks for recordings, which nobody could play; name those who may under "
                   "`audit: {recording: {recipients: [age1…]}}`")


def _askers(settings: Settings) -> Iterator[tuple[Location, str]]:
    if settings.audit.recording.record:
        yield (*_AT, "record"), "`audit.recording`"
    for index, connection in enumerate(settings.connections):
        if connection.record:
            yield ("connections", index, "record"), f"connection `{connection.name}`"
    for index, policy in enumerate(settings.policies):
        if policy.record or policy.record_raw:
            yield ("policies", index, "record" if policy.record else "record_raw"), f"rule `{policy.name}`"


def _policy(at: Location, policy: PolicySettings) -> Iterator[Problem]:
    if (policy.record or policy.record_raw) and policy.when is not None:
        yield (*at, "when"), ("a recording is of a whole session and cannot begin with a request; write `record` in a rule "
                              "without `when`")

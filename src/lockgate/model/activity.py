"""What a protocol's requests are to those who read the record elsewhere: a SIEM, a tracing system.

Apart from `operation` because policies know nothing of it: it only chooses the form of an exported event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Activity(StrEnum):
    """The kind of traffic that a protocol carries."""

    DATASTORE = "datastore"
    WEB = "web"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Exported:
    """How requests of one protocol are exported. `system` is OpenTelemetry's name of the product that
    answers (``db.system.name``), empty where it has none.
    """

    activity: Activity = Activity.DATASTORE
    system: str = ""

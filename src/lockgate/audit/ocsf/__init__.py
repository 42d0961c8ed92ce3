"""The record as OCSF 1.6 events (Open Cybersecurity Schema Framework): a pure mapping from leaves."""

from lockgate.audit.ocsf.events import VERSION, Mapper

__all__ = ["VERSION", "Mapper"]

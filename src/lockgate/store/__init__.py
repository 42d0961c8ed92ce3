"""Runtime state that outlives a process: tickets. The audit log is elsewhere (`audit`) on purpose:
what is here may change, what is there may not.
"""

from lockgate.store.database import StoreError, open_database
from lockgate.store.reviews import SqlReviewStore

__all__ = ["SqlReviewStore", "StoreError", "open_database"]

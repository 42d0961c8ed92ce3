"""Runtime state that outlives a process: tickets, definitions of tools, the key of the masks. The audit log is elsewhere (`audit`) on purpose:
what is here may change, what is there may not.
"""

from lockgate.store.database import StoreError, open_database
from lockgate.store.definitions import SqlDefinitions
from lockgate.store.mask_key import load_or_create_mask_key
from lockgate.store.reviews import SqlReviewStore

__all__ = ["SqlDefinitions", "SqlReviewStore", "StoreError", "load_or_create_mask_key", "open_database"]

"""Names that outlast a loss of power: a file's own `fsync` says nothing about its entry in the folder.

Apart from the modules that use it because a simulated disk takes its place in tests.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed and deleted in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Keeping what a process holds out of core dumps, and out of the reach of its user's other processes.

A limit of zero on core files is not enough: where ``kernel.core_pattern`` is a pipe the kernel does not look at it
(core(5)). A process that is not dumpable (prctl(2), PR_SET_DUMPABLE) leaves no core in either case, cannot be
attached to by ptrace, and its ``/proc/<pid>/environ`` and ``mem`` are root's. Programs that it starts begin anew:
each of them calls this itself.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

from lockgate.errors import LockgateError

_SET_DUMPABLE: Final = 4    # linux/prctl.h


class Dumpable(LockgateError):
    """The system does not let this process protect its memory; it holds credentials, so it does not start."""

    code = "process.dumpable"


def forbid_dumps() -> None:
    """Leave no core, whatever happens. Raises `Dumpable` where the system refuses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Dumpable(f"core dumps cannot be forbidden: {os.strerror(ctypes.get_errno())}")

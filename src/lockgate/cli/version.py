"""`lockgate version`: what is running here, for bug reports. Reads, never changes.

Apart from the other verbs because nothing else asks which kernel was loaded.
"""

from __future__ import annotations

import importlib
import pkgutil
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import apsw
import typer

import lockgate.kernel

KernelMode = Literal["compiled", "interpreted", "mixed"]


def kernel_mode() -> KernelMode:
    """Whether the kernel's modules run compiled by mypyc or interpreted; "mixed" means a broken build."""
    package = lockgate.kernel
    names = [found.name for found in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
    sources = {Path(str(importlib.import_module(name).__file__)).suffix == ".py" for name in names}
    if len(sources) == 2:
        return "mixed"
    return "compiled" if sources == {False} else "interpreted"


def package_version() -> str:
    """The installed version, or "unknown" when run from a source tree that nobody installed."""
    try:
        return version("lockgate")
    except PackageNotFoundError:
        return "unknown"


def facts() -> dict[str, str]:
    """What `lockgate version` prints, in its order."""
    return {
        "lockgate": package_version(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.machine()}",
        "kernel": kernel_mode(),
        "sqlite": apsw.sqlite_lib_version(),
    }


def show_version() -> None:
    """Say the version, the Python, which kernel runs (compiled or interpreted) and the SQLite."""
    for name, value in facts().items():
        typer.echo(f"{name:<9} {value}")

"""Builds the kernel with mypyc where a C compiler is there. Everything else is in pyproject.toml.

The kernel is plain typed Python and behaves the same interpreted, so its extensions are optional: a
machine without a compiler, or with `LOCKGATE_KERNEL=interpreted` in the environment, gets the
sources alone. `lockgate version` says which one runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

KERNEL = Path("src") / "lockgate" / "kernel"
# The verifier's loop over a log's entries. It is the text of a stand-alone program as well, so it knows nothing of this.
EVIDENCE = Path("src") / "lockgate" / "audit" / "evidence"
LOOP = ("merkle", "leaf", "ordinary", "erasures", "ledger", "recordings", "bindings", "disclosed", "contents", "scope", "archive", "streams", "proofs", "records", "report",
        "package")
# The log's own loop, twice for every statement: from the words of `model` to leaves, on both sides of the writer's process.
AUDIT = Path("src") / "lockgate" / "audit"
APPENDING = ("entry", "commitment", "leaves", "growth", "apart/frames")

# Bytes to messages and back, for every request and every answer.
HTTP = Path("src") / "lockgate" / "protocols" / "http"
MESSAGES = ("grammar", "framing", "incoming", "reader", "codec", "fields")


def kernel_extensions() -> list[Extension]:
    """The kernel's modules as optional extensions, or nothing where they cannot or shall not be built."""
    kernel = sorted(str(path) for path in KERNEL.glob("*.py") if path.name != "__init__.py")
    sources = [*kernel, *(str(EVIDENCE / f"{name}.py") for name in LOOP),
               *(str(AUDIT / f"{name}.py") for name in APPENDING),
               *(str(HTTP / f"{name}.py") for name in MESSAGES)]
    if os.environ.get("LOCKGATE_KERNEL") == "interpreted":
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        print("mypyc is not installed: the kernel will run interpreted", file=sys.stderr)
        return []
    # Own options: the project's mypy configuration has plugins that a build machine need not have.
    extensions = mypycify(
        ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", *sources],
        opt_level="3",
        group_name="lockgate_kernel",
    )
    for extension in extensions:
        extension.optional = True
        # A warning that only another compiler has is no reason to run interpreted.
        extension.extra_compile_args = [word for word in extension.extra_compile_args if word != "-Werror"]
    return extensions


setup(ext_modules=kernel_extensions())

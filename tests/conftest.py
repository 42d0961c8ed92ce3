"""What all tests share: the kernel in both builds, no skips where nothing may skip, hypothesis."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# Time is the machine's affair; `timeout` in pyproject.toml ends what hangs.
settings.register_profile("lockgate", deadline=None, print_blob=True)
settings.load_profile("lockgate")

# --- nothing may skip in continuous integration ------------------------------------------------


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("LOCKGATE_NO_SKIPS") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, but LOCKGATE_NO_SKIPS is set and nothing may skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


# --- the kernel, compiled and interpreted ------------------------------------------------------

# The kernel and what is built on it: loaded once more from source for the interpreted build.
_RELOADED = ("lockgate.kernel", "lockgate.govern.masking", "lockgate.protocols.http")


class _SourceOnly:
    """Finds the modules of `_RELOADED` by their sources, past the compiled ones beside them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name.startswith(_RELOADED):
            for folder in path or ():
                spec = FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(name)
                if spec is not None:
                    return spec
        return None


class Kernel:
    """One build of the kernel. `kernel.frames` is a module of it; `load` gives a module built on it."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._modules: dict[str, ModuleType] = {}
        self._asked: dict[str, ModuleType] = {}     # tests ask ten thousands of times: changing builds is dear

    def __repr__(self) -> str:
        return f"<{self.mode} kernel>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.load(f"lockgate.kernel.{name}")
        except ModuleNotFoundError as error:
            raise AttributeError(name) from error

    def load(self, name: str) -> Any:
        """A module of the kernel or of `lockgate.govern.masking`, running on this build."""
        if name not in self._asked:
            module = importlib.import_module(name)  # first the usual way: what it needs is loaded as usual
            if self.mode == "interpreted":
                with self._sources():
                    module = importlib.import_module(name)
            self._asked[name] = module
        return self._asked[name]

    @contextmanager
    def _sources(self) -> Iterator[None]:
        """`sys.modules` and the parents' attributes hold this build while it is imported, no longer."""
        parents = [(sys.modules[root.rpartition(".")[0]], root.rpartition(".")[2]) for root in _RELOADED
                   if root.rpartition(".")[0] in sys.modules]
        attributes = [(parent, leaf, getattr(parent, leaf, None)) for parent, leaf in parents]
        usual = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith(_RELOADED)}
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, _SourceOnly)  # type: ignore[arg-type]
        try:
            yield
        finally:
            sys.meta_path.remove(_SourceOnly)  # type: ignore[arg-type]
            self._modules = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith(_RELOADED)}
            sys.modules.update(usual)
            for parent, leaf, value in attributes:
                if value is None:
                    parent.__dict__.pop(leaf, None)
                else:
                    setattr(parent, leaf, value)


def _compiled_problem() -> str | None:
    """Why the compiled kernel cannot be tested here, or None."""
    spec = importlib.util.find_spec("lockgate.kernel")
    assert spec is not None
    folder = Path(str(spec.origin)).parent
    for source in sorted(folder.glob("*.py")):
        if source.name == "__init__.py":
            continue
        found = importlib.util.find_spec(f"lockgate.kernel.{source.stem}")
        if found is None or str(found.origin).endswith(".py"):
            return f"kernel/{source.name} is not compiled here: run `make` with a C compiler"
        if Path(str(found.origin)).stat().st_mtime < source.stat().st_mtime:
            return f"the compiled kernel/{source.name} is older than its source: run `make`"
    return None


@pytest.fixture(scope="session", params=["compiled", "interpreted"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """The kernel, once compiled and once interpreted: a test that uses it runs on both."""
    problem = _compiled_problem() if request.param == "compiled" else None
    if problem:
        pytest.skip(problem)
    return Kernel(request.param)

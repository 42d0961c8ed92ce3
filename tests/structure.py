"""The rules of the house as functions over a source tree: each takes a root and returns what is wrong.

Apart from `test_architecture.py`, so that every rule can also be run on a small tree with a seeded
mistake: a check that nobody has seen fail checks nothing. Rules read syntax trees; words in comments
and docstrings are free.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

PLACES = {
    "src", "tests", "testbed", "demo", "bench", "fuzz", "docs", "scripts", "sdk", "deploy", "console",
    ".ci", ".git", ".github", ".venv", "build", "state", "node_modules",
    ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", "__pycache__",
}
LAYERS = {
    "__init__.py", "__main__.py", "py.typed", "errors.py", "analysis", "app", "audit", "cli", "config", "control",
    "govern", "kernel", "leaktest", "model", "net", "outpost", "protocols", "proxy", "store", "wire", "__pycache__",
}
PURE = ("protocols", "wire", "govern", "analysis", "kernel", "model")
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "service", "misc"}
LONGEST_FILE = 600
OTHERS_WORDS = {"PostgresError"}
"""Identifiers of foreign packages that happen to hold a protocol's name: asyncpg's error, in the audit log's store."""
PIPELINE = "govern/pipeline.py"
PERMIT = "govern/permit.py"
DRIVERS = ("proxy/", "wire/playbook.py")
"""What takes proofs apart: the driver, and the playbook that stands in for it in tests without I/O."""


def package(root: Path) -> Path:
    return root / "src" / "lockgate"


def sources(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package: its path below `lockgate` and its tree."""
    for path in sorted(package(root).rglob("*.py")):
        yield path.relative_to(package(root)).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def protocols(root: Path) -> list[str]:
    """The protocols that are there, by folder."""
    return sorted(path.parent.name for path in (package(root) / "protocols").glob("*/__init__.py"))


def misplaced(root: Path) -> list[str]:
    """Folders and files that the layout has no place for."""
    top = [f"{path.name}/" for path in root.iterdir() if path.is_dir() and path.name not in PLACES]
    return top + [f"src/lockgate/{path.name}" for path in package(root).iterdir() if path.name not in LAYERS]


def vague_names(root: Path) -> list[str]:
    """Modules and folders whose name says nothing, so that anything would fit in."""
    return [name for name, _ in sources(root) if VAGUE & set(re.split(r"[/_.]", name))]


def long_files(root: Path) -> list[str]:
    """Files that hold more than one concept by their size alone."""
    found = []
    for path in sorted(package(root).rglob("*.py")):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONGEST_FILE:
            found.append(f"{path.relative_to(root)}: {lines} lines")
    return found


def _docstrings(tree: ast.Module) -> set[int]:
    """The ids of constants that stand as statements: docstrings of modules, classes, functions, fields."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)}


def _words(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Every identifier and every string of the code: its line, itself, and whether it is an identifier."""
    documentation = _docstrings(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str() as text) if id(node) not in documentation:
                yield line, text, False
            case ast.Constant(value=bytes() as raw):
                yield line, raw.decode("latin-1"), False
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) \
                | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name, True
            case ast.keyword(arg=str() as name):
                yield line, name, True
            case ast.alias(name=name, asname=asname):
                yield line, f"{name} {asname or ''}", True
            case ast.ImportFrom(module=str() as name):
                yield line, name, True


BUILT_ON = {"http": ("mcp",)}
"""Protocols that are carried by another one, and may name it."""
SPEAK_HTTP = frozenset("""
app/gateway.py
app/targets.py
audit/evidence/policy.py
audit/export/https.py
audit/ocsf/envelope.py
audit/outward.py
audit/telemetry/spans.py
cli/calling.py
cli/issuer.py
cli/review.py
cli/tools.py
cli/verifying.py
cli/witness.py
config/checks.py
config/export_checks.py
config/exports.py
config/settings.py
control/api.py
control/described.py
control/issuer.py
control/server.py
control/witness.py
net/discovery.py
net/tokens.py
net/oidc.py
net/published.py
""".split())
"""What reads URLs, or is a client or server of HTTP in the gateway's own affairs: there the word is not the protocol's."""


def foreign_names(root: Path) -> list[str]:
    """Code outside `protocols/X/` that names X: there X would not be a place any more.

    In an identifier X counts as a part of it; in a string as a word of its own, so that a list of a
    database's function names may hold what merely begins with X.
    """
    found = []
    for protocol in protocols(root):
        part = re.compile(rf"(?<![a-z]){protocol}", re.IGNORECASE)
        word = re.compile(rf"(?<![a-z0-9_]){protocol}(?![a-z0-9_])", re.IGNORECASE)
        module = re.compile(rf"protocols[./]{protocol}")
        for name, tree in sources(root):
            if any(name.startswith(f"protocols/{one}/") for one in (protocol, *BUILT_ON.get(protocol, ()))):
                continue
            is_common = protocol == "http" and name in SPEAK_HTTP
            found += [f"{name}:{line}: names {protocol} ({text[:60]!r})" for line, text, is_identifier in _words(tree)
                      if (module if is_common else part if is_identifier else word).search(text)
                      and text not in OTHERS_WORDS]
    return found


def broad_excepts(root: Path) -> list[str]:
    """`except Exception` anywhere but in the pipeline's stage wrapper and one guard of the driver."""
    found: list[str] = []
    drivers: set[str] = set()
    for name, tree in sources(root):
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"everything"}
            if not caught & {"Exception", "BaseException", "everything"}:
                continue
            if name.startswith("proxy/"):
                drivers.add(name)
            if name != PIPELINE and (not name.startswith("proxy/") or len(drivers) > 1):
                found.append(f"{name}:{node.lineno}: catches everything")
    return found


def _dotted(node: ast.AST) -> str:
    """`a.b.c` of a chain of names; a call inside stands as its function."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return _dotted(node.func)
    return ""


def _banned_call(node: ast.Call) -> str | None:
    name = _dotted(node.func)
    receiver, _, method = name.rpartition(".")
    if method == "create_task" and not re.search(r"group|tasks", receiver.rpartition(".")[2]):
        return f"{name}: tasks belong to a TaskGroup"
    if method in {"ensure_future", "run_coroutine_threadsafe"}:
        return f"{name}: tasks belong to a TaskGroup"
    if name in {"asyncio.gather", "gather"}:
        return f"{name}: use a TaskGroup"
    if name in {"eval", "exec", "__import__", "os.system", "os.popen", "time.sleep"}:
        return f"{name}: never"
    if any(word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
           for word in node.keywords):
        return f"{name}: no shell"
    return None


BANNED_IMPORTS = {"pickle", "marshal", "shelve", "dill", "random", "urllib.request"}
BANNED_FROM = {("asyncio", "create_task"), ("asyncio", "ensure_future"), ("asyncio", "gather"), ("time", "sleep"),
               ("os", "system"), ("os", "popen"), ("urllib", "request")}


def banned_calls(root: Path) -> list[str]:
    """What is never called: orphan tasks, code from data, shells, sleeping, weak randomness."""
    found = []
    for name, tree in sources(root):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (problem := _banned_call(node)):
                found.append(f"{name}:{node.lineno}: {problem}")
            elif isinstance(node, ast.Import):
                found += [f"{name}:{node.lineno}: import {a.name}" for a in node.names if a.name in BANNED_IMPORTS]
            elif isinstance(node, ast.ImportFrom):
                found += [f"{name}:{node.lineno}: from {node.module} import {a.name}" for a in node.names
                          if node.module in BANNED_IMPORTS or (node.module, a.name) in BANNED_FROM]
    return found


def permit_uses(root: Path) -> list[str]:
    """Permits are made by the pipeline alone and taken apart by the driver alone (I1, I3)."""
    found = []
    for name, tree in sources(root):
        if name == PERMIT:
            continue
        for node in ast.walk(tree):
            used = {ast.Name: "id", ast.Attribute: "attr", ast.alias: "name"}.get(type(node))
            word = str(getattr(node, used)) if used else ""
            if word in {"issue_permit", "issue_clearance"} and name != PIPELINE:
                found.append(f"{name}: {word} is for {PIPELINE} alone")
            if word in {"require_permit", "require_clearance"} and not name.startswith(DRIVERS):
                found.append(f"{name}: {word} is for the driver alone")
            if word == "_SEAL" and not isinstance(node, ast.alias | ast.Name):
                found.append(f"{name}: the seal stays in {PERMIT}")
            if isinstance(node, ast.Call) and _dotted(node.func).rpartition(".")[2] in {"Permit", "Cleared"}:
                found.append(f"{name}:{node.lineno}: makes a proof itself")
            if isinstance(node, ast.ImportFrom | ast.Attribute) and "_SEAL" in ast.dump(node):
                found.append(f"{name}:{node.lineno}: the seal stays in {PERMIT}")
    return found


def undocumented(root: Path) -> list[str]:
    """Modules, public classes and public functions without a docstring."""
    found = []
    for name, tree in sources(root):
        if tree.body and not ast.get_docstring(tree) and "/versions/" not in name:
            found.append(f"{name}: says not what it is")
        found += [f"{name}:{node.lineno}: {node.name}" for node in tree.body
                  if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                  and not node.name.startswith("_") and not ast.get_docstring(node) and "migrations/" not in name]
    return found


def broken_contracts(root: Path) -> list[str]:
    """What import-linter says about the contracts of pyproject.toml, on this tree."""
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", str(root / "pyproject.toml")],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys
import lockgate
assert pathlib.Path(lockgate.__file__).is_relative_to(sys.argv[1]), lockgate.__file__
for found in pkgutil.walk_packages(lockgate.__path__, "lockgate."):
    if not found.name.endswith("__main__") and "migrations" not in found.name:
        importlib.import_module(found.name)
"""


def unimportable(root: Path) -> list[str]:
    """What fails when every module of the tree is imported."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(root)],
        env={**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=root, capture_output=True, text=True, check=False,
    )
    return [] if done.returncode == 0 else [done.stderr]


CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "monotonic_ns", "perf_counter_ns", "process_time_ns",
          "thread_time_ns", "getrusage", "time.time", "time.time_ns", "loop.time", "get_running_loop.time", "os.times"}


def _is_measured(node: ast.AST, measured: set[str]) -> bool:
    """Whether an expression is computed with a clock, or with a name that holds what came of one."""
    if isinstance(node, ast.Name):
        return node.id in measured
    if isinstance(node, ast.Lambda):
        return False
    if isinstance(node, ast.Call):
        name = _dotted(node.func)
        if {name, name.rpartition(".")[2], ".".join(name.split(".")[-2:])} & CLOCKS:
            return True
        if name not in {"max", "min", "abs", "round", "int", "float", "sum", "sorted"}:
            return False                    # what it makes of a time is its own
    return any(_is_measured(part, measured) for part in ast.iter_child_nodes(node))


def _measured(function: ast.AST) -> set[str]:
    """The names of a function that hold a time, or what was computed with one."""
    measured: set[str] = set()
    while True:
        before = len(measured)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.NamedExpr) and node.value is not None \
                    and _is_measured(node.value, measured):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    measured |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append" \
                    and any(_is_measured(part, measured) for part in node.args):
                measured.add(_dotted(node.func.value))
        if len(measured) == before:
            return measured


def _is_deadline(node: ast.expr) -> bool:
    """`clock() < end`, as it stands in a loop that waits for something."""
    return isinstance(node, ast.Compare) and isinstance(node.left, ast.Call) and len(node.ops) == 1 \
        and isinstance(node.ops[0], ast.Lt) and isinstance(node.comparators[0], ast.Name)


def timed_asserts(root: Path) -> list[str]:
    """Tests that compare a time that they measured: they fail on a machine that is busy. Count steps, calls or bytes
    (`tests/steps.py`). A loop that waits for an event may have a deadline."""
    found = []
    for path in sorted((root / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        waiting = {id(node) for loop in ast.walk(tree) if isinstance(loop, ast.While) for node in ast.walk(loop)
                   if isinstance(node, ast.Assert) and _is_deadline(node.test)}
        lines: set[int] = set()
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                measured = _measured(function)
                lines |= {node.lineno for node in ast.walk(function) if isinstance(node, ast.Assert)
                          and id(node) not in waiting and _is_measured(node.test, measured)}
        found += [f"{path.relative_to(root)}:{line}: asserts how long something took" for line in sorted(lines)]
    return found


RULES: tuple[Callable[[Path], list[str]], ...] = (
    misplaced, vague_names, long_files, foreign_names, broad_excepts, banned_calls, permit_uses, undocumented,
    timed_asserts,
)

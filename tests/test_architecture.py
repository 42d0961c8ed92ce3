"""The rules of the house hold on the real tree, and each is seen to fail on a seeded mistake."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import structure

ROOT = Path(__file__).resolve().parent.parent


def copy_of_the_tree(target: Path) -> Path:
    """The package and its configuration, to be broken."""
    shutil.copytree(ROOT / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


# --- the real tree -----------------------------------------------------------------------------


@pytest.mark.parametrize("rule", structure.RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule: Callable[[Path], list[str]]) -> None:
    """No file of the project breaks this rule (its docstring says which)."""
    assert rule(ROOT) == []


def test_layers_and_contracts_hold() -> None:
    """Imports point down only, the pure layers reach no I/O, protocols know nothing of each other."""
    assert structure.broken_contracts(ROOT) == []


@pytest.mark.parametrize("protocol", structure.protocols(ROOT))
def test_the_rest_lives_without_a_protocol(protocol: str, tmp_path: Path) -> None:
    """With a protocol's folder deleted, everything else still imports: a protocol is a place."""
    tree = copy_of_the_tree(tmp_path)
    for name in (protocol, *structure.BUILT_ON.get(protocol, ())):
        shutil.rmtree(structure.package(tree) / "protocols" / name)
    assert structure.unimportable(tree) == []


# --- seeded mistakes ---------------------------------------------------------------------------

TEST = "../../tests/test_a.py"
SEEDS = [
    (structure.misplaced, "shared/__init__.py", '"""Stray."""'),
    (structure.vague_names, "net/utils.py", '"""Anything."""'),
    (structure.vague_names, "proxy/session_manager.py", '"""Anything."""'),
    (structure.long_files, "net/long.py", '"""Long."""\n' + "x = 1\n" * 601),
    (structure.foreign_names, "net/a.py", "if protocol == 'fakeproto': pass"),
    (structure.foreign_names, "net/a.py", "from lockgate.protocols.fakeproto import SPEC"),
    (structure.foreign_names, "net/a.py", "class FakeprotoSession: pass"),
    (structure.foreign_names, "net/a.py", "def connect(fakeproto_port): pass"),
    (structure.broad_excepts, "net/a.py", "try: pass\nexcept Exception: pass"),
    (structure.broad_excepts, "net/a.py", "try: pass\nexcept (ValueError, BaseException): pass"),
    (structure.broad_excepts, "net/a.py", "try: pass\nexcept: pass"),
    (structure.banned_calls, "net/a.py", "import asyncio\nasyncio.create_task(f())"),
    (structure.banned_calls, "net/a.py", "asyncio.get_running_loop().create_task(f())"),
    (structure.banned_calls, "net/a.py", "self._loop.create_task(f())"),
    (structure.banned_calls, "net/a.py", "asyncio.ensure_future(f())"),
    (structure.banned_calls, "net/a.py", "await asyncio.gather(a, b)"),
    (structure.banned_calls, "net/a.py", "from asyncio import gather"),
    (structure.banned_calls, "net/a.py", "import pickle"),
    (structure.banned_calls, "net/a.py", "from random import choice"),
    (structure.banned_calls, "net/a.py", "eval('1')"),
    (structure.banned_calls, "net/a.py", "subprocess.run('ls', shell=True)"),
    (structure.banned_calls, "net/a.py", "time.sleep(1)"),
    (structure.banned_calls, "net/a.py", "from time import sleep"),
    (structure.banned_calls, "govern/a.py", "import urllib.request"),
    (structure.permit_uses, "net/a.py", "from lockgate.govern.permit import issue_permit"),
    (structure.permit_uses, "proxy/a.py", "permit.issue_clearance(b'')"),
    (structure.permit_uses, "wire/a.py", "require_permit(p)"),
    (structure.permit_uses, "proxy/a.py", "Permit(permit._SEAL, 's', (), 0, b'')"),
    (structure.undocumented, "net/a.py", "x = 1"),
    (structure.undocumented, "net/a.py", '"""A."""\nclass Open: pass'),
    (structure.undocumented, "net/a.py", '"""A."""\ndef open(): pass'),
    (structure.timed_asserts, TEST, "def test_a():\n    began = time.monotonic()\n    f()\n    assert time.monotonic() - began < 1"),
    (structure.timed_asserts, TEST, "def test_a():\n    began = process_time()\n    f()\n    spent = process_time() - began\n    assert spent < 1"),
    (structure.timed_asserts, TEST, "def test_a():\n    end = perf_counter() + 5\n    f()\n    assert perf_counter() < end"),
    (structure.timed_asserts, TEST, (
        "async def test_a():\n    began = loop.time()\n    most = 0\n    while f():\n"
        "        most = max(most, loop.time() - began)\n    assert most < 1")),
    (structure.timed_asserts, TEST, (
        "def test_a():\n    took = []\n    for _ in range(3):\n        began = time.time()\n        f()\n"
        "        took.append(time.time() - began)\n    assert min(took) < 1")),
]


@pytest.mark.parametrize(("rule", "name", "text"), SEEDS, ids=lambda value: getattr(value, "__name__", None))
def test_rule_fails_on_a_seeded_mistake(
    rule: Callable[[Path], list[str]], name: str, text: str, tmp_path: Path
) -> None:
    """The rule finds the mistake, and finds nothing in the same tree without it."""
    fine = structure.package(tmp_path) / "protocols" / "fakeproto" / "__init__.py"
    fine.parent.mkdir(parents=True)
    fine.write_text('"""fakeproto may name fakeproto."""\nNAME = "fakeproto"\n')
    (structure.package(tmp_path) / "__init__.py").write_text('"""Talks of fakeproto in prose only."""\n')
    assert rule(tmp_path) == []
    seeded = structure.package(tmp_path) / name
    seeded.parent.mkdir(parents=True, exist_ok=True)
    seeded.write_text(text)
    assert len(rule(tmp_path)) >= 1


def test_a_task_group_may_create_tasks(tmp_path: Path) -> None:
    """The ban on orphan tasks leaves the way that owns them."""
    module = structure.package(tmp_path) / "net" / "a.py"
    module.parent.mkdir(parents=True)
    module.write_text("async with asyncio.TaskGroup() as group:\n    group.create_task(f())\n")
    assert structure.banned_calls(tmp_path) == []


def test_a_wait_may_have_a_deadline(tmp_path: Path) -> None:
    """The ban on measured times leaves the loop that would otherwise wait for ever."""
    module = tmp_path / "tests" / "test_a.py"
    module.parent.mkdir()
    module.write_text("def test_a():\n    end = time.monotonic() + 20\n    while not f():\n        assert time.monotonic() < end\n")
    assert structure.timed_asserts(tmp_path) == []


CONTRACT_SEEDS = {
    "an import that points up": ("model/seed.py", "import lockgate.wire.steps"),
    "a neighbour on the same line": ("store/seed.py", "import lockgate.audit"),
    "a folder that is in no layer": ("utils/__init__.py", ""),
    "a socket in the analysis": ("analysis/seed.py", "import socket"),
    "an event loop in the pipeline": ("govern/seed.py", "import asyncio"),
    "a thread in a protocol": ("protocols/postgres/seed.py", "import threading"),
    "a protocol that imports another": ("protocols/postgres/seed.py", "import lockgate.protocols.other"),
    "a permit outside pipeline, contract and driver": ("net/seed.py", "import lockgate.govern.permit"),
}


@pytest.mark.parametrize("mistake", CONTRACT_SEEDS)
def test_contract_fails_on_a_seeded_mistake(mistake: str, tmp_path: Path) -> None:
    """Each import contract is seen to fail on the mistake that it is there for."""
    tree = copy_of_the_tree(tmp_path)
    name, text = CONTRACT_SEEDS[mistake]
    other = structure.package(tree) / "protocols" / "other" / "__init__.py"
    other.parent.mkdir()
    other.write_text('"""A second protocol."""\n')
    seeded = structure.package(tree) / name
    seeded.parent.mkdir(exist_ok=True)
    seeded.write_text(text + "\n")
    (report,) = structure.broken_contracts(tree)
    assert "BROKEN" in report or "Missing layer" in report or "exhaustive" in report.lower(), report
    assert "seed" in report or "utils" in report, report


def test_deleting_a_protocol_is_seen(tmp_path: Path) -> None:
    """A module that needs a protocol's folder makes the deletion test fail."""
    tree = copy_of_the_tree(tmp_path)
    (structure.package(tree) / "net" / "seed.py").write_text("import lockgate.protocols.gone\n")
    assert "lockgate.protocols.gone" in structure.unimportable(tree)[0]

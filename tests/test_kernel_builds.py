"""The `kernel` fixture itself: two builds that are really two, with one behaviour."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import lockgate.kernel
from tests.conftest import Kernel

FOLDER = Path(lockgate.kernel.__file__).parent


def test_the_build_is_the_one_it_says(kernel: Kernel) -> None:
    """The fixture hands out the compiled modules as compiled and the sources as interpreted."""
    for source in FOLDER.glob("*.py"):
        if source.name != "__init__.py":
            is_source = kernel.load(f"lockgate.kernel.{source.stem}").__file__.endswith(".py")
            assert is_source == (kernel.mode == "interpreted"), source.name


def test_loading_leaves_the_usual_modules_in_place() -> None:
    """Loading the interpreted build does not replace what the rest of the process uses."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("lockgate")}
    interpreted = Kernel("interpreted")
    assert interpreted.frames is not __import__("lockgate.kernel.frames", fromlist=["x"])
    assert all(sys.modules[name] is module for name, module in before.items())
    assert lockgate.kernel is sys.modules["lockgate.kernel"]


def test_both_builds_offer_the_same_names(kernel: Kernel) -> None:
    """Nothing public of a kernel module is there in one build only."""
    for source in FOLDER.glob("*.py"):
        if source.name == "__init__.py":
            continue
        tree = ast.parse(source.read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        module = kernel.load(f"lockgate.kernel.{source.stem}")
        assert all(hasattr(module, name) for name in names), source.name


def test_no_skips_turns_a_skip_into_a_failure(tmp_path: Path) -> None:
    """With LOCKGATE_NO_SKIPS a skipped test or module fails, so that nothing drops out unseen."""
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_seed.py").write_text("import pytest\ndef test_it():\n    pytest.skip('seeded')\n")
    (tmp_path / "test_seed_module.py").write_text("import pytest\npytest.skip('seeded', allow_module_level=True)\n")
    for name, value, expected in (("test_seed.py", "1", 1), ("test_seed_module.py", "1", 2), ("test_seed.py", "", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(tmp_path / name),
             "--rootdir", str(tmp_path)],
            env={**os.environ, "LOCKGATE_NO_SKIPS": value}, capture_output=True, text=True, check=False,
        )
        assert done.returncode == expected, done.stdout

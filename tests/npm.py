"""Programs of npm's registry that tests run: a pinned version in a folder's `node_modules`, which git ignores."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(folder: Path) -> str:
    """Put what the folder's `package.json` pins in place; returns the node binary. Skips without node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"{folder.name} needs node and npm, which are not installed")
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    if not all(_version(folder, package) == version for package, version in wanted.items()):
        done = subprocess.run(
            [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder, capture_output=True, text=True, timeout=100, check=False,
        )
        assert done.returncode == 0, f"npm install failed:\n{done.stderr[-2000:]}"
    return node


def _version(folder: Path, package: str) -> str | None:
    """The version that is in place."""
    described = folder / "node_modules" / package / "package.json"
    return str(json.loads(described.read_text())["version"]) if described.exists() else None

"""What is installed is locked, and what is locked is free of licences that we do not take."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted(ROOT.glob("requirements*.txt"))


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    loader = SourceFileLoader("check_licences", str(ROOT / "scripts" / "check-licences"))
    spec = importlib.util.spec_from_loader("check_licences", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_is_pinned_and_hashed(lock: Path) -> None:
    """A requirements file holds versions and hashes and nothing else: no address, no option."""
    entries = lock.read_text().replace("\\\n", "").splitlines()
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( +--hash=sha256:[0-9a-f]{64})+", entry), entry[:80]


def test_the_sets_agree() -> None:
    """A package has one version in all sets: they go into one environment."""
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"^(\S+)==(\S+)", lock.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_every_dependency_is_locked_and_has_a_reason() -> None:
    """What pyproject.toml asks for is in the lock, and a comment says what it is for."""
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    sets = {"requirements.txt": project["dependencies"],
            **{f"requirements-{name}.txt": words for name, words in project["optional-dependencies"].items()}}
    for lock, words in sets.items():
        locked = set(re.findall(r"^(\S+)==", (ROOT / lock).read_text(), re.MULTILINE))
        for word in words:
            assert re.split(r"[\[<>=]", word)[0].lower() in locked, (lock, word)
            assert re.search(rf'^    "{re.escape(word)}",\s+# \w', text, re.MULTILINE), f"no reason given for {word}"


@pytest.mark.parametrize("licence", ["MIT", "BSD-3-Clause", "Apache-2.0 OR BSD-3-Clause", "MPL-2.0 AND MIT",
                                     "GPL-2.0 OR MIT", "PSF-2.0", "Apache Software License"])
def test_permissive_licences_pass(licences: ModuleType, licence: str) -> None:
    """What may ship, ships."""
    assert licences.verdict(licence, shipped=True) is None


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "AGPL-3.0", "MIT AND GPL-2.0-or-later", "SSPL-1.0", "", "Proprietary",
                                     "GNU General Public License v3 (GPLv3)", "LGPL-3.0-only", "BUSL-1.1"])
def test_other_licences_do_not_ship(licences: ModuleType, licence: str) -> None:
    """Strong copyleft, source-available, unknown and absent licences never ship, weak copyleft neither."""
    assert licences.verdict(licence, shipped=True) is not None


@pytest.mark.parametrize("licence", ["LGPL-3.0-only", "GNU Lesser General Public License v3 (LGPLv3)"])
def test_weak_copyleft_may_test(licences: ModuleType, licence: str) -> None:
    """psycopg is a real client that tests and demo need; it is not shipped."""
    assert licences.verdict(licence, shipped=False) is None

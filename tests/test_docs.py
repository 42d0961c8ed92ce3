"""The reference says what the code does: every setting, command, fact and error is on its page."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    loader = SourceFileLoader("generate_docs", str(ROOT / "scripts" / "generate-docs"))
    spec = importlib.util.spec_from_loader("generate_docs", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_committed_reference_is_up_to_date() -> None:
    """What is committed is what the code would write now."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate-docs"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_has_a_row(generator: ModuleType) -> None:
    """No key of lockgate.yaml is undocumented."""
    page = (REFERENCE / "configuration.md").read_text()
    for model in generator.models(generator.Settings):
        section = page.split(f"## {model.__name__}\n")[1].split("\n## ")[0]
        for name, field in model.model_fields.items():
            assert f"| `{field.alias or name}` |" in section, f"{model.__name__}.{name}"


def test_every_command_has_a_heading_and_a_help(generator: ModuleType) -> None:
    """No verb of the command line is undocumented, and each says what it does."""
    page = (REFERENCE / "cli.md").read_text()
    for path, command in generator.commands(generator.application(), ("lockgate",)):
        assert f"## {' '.join(path)}\n" in page
        assert command.help, path


def test_every_option_says_what_it_is_for(generator: ModuleType) -> None:
    """An option without help is one that nobody can use."""
    silent = [
        f"{' '.join(path)} {parameter.name}"
        for path, command in generator.commands(generator.application(), ("lockgate",))
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.help
    ]
    assert silent == []


def test_a_stale_page_is_noticed(generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails on a page that differs by one character."""
    generator.FOLDER = tmp_path
    monkeypatch.setattr(sys, "argv", ["generate-docs"])
    assert generator.main() == 0
    monkeypatch.setattr(sys, "argv", ["generate-docs", "--check"])
    assert generator.main() == 0
    page = tmp_path / "errors.md"
    page.write_text(page.read_text() + ".")
    assert generator.main() == 1

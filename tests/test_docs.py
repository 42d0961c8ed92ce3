"""What the documentation says holds: the reference is what the code says, and examples are tried.

In the pages of `PAGES`, a fence ``sh run`` is executed in its order in one shell, and each ``text``
fence must be what was printed (``…`` stands for anything). Every other `lockgate` command in a fence
must exist with its options, and every YAML fence is read by the real loader.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from lockgate.app import load_configuration
from lockgate.errors import ConfigError
from testbed.certificates import make_certificate
from testbed.postgres import embedded, free_port

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
TUTORIAL = ROOT / "docs" / "tutorial" / "first-gateway.md"
PAGES = sorted(
    page for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*"))
    if page.is_file() and REFERENCE not in page.parents
)
FENCE = re.compile(r"^( *)```(\w+)( run)?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


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
    monkeypatch.setattr(generator, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate-docs"])
    assert generator.main() == 0
    monkeypatch.setattr(sys, "argv", ["generate-docs", "--check"])
    assert generator.main() == 0
    page = tmp_path / "errors.md"
    page.write_text(page.read_text() + ".")
    assert generator.main() == 1


# --- examples ----------------------------------------------------------------------------------


def fences(page: Path, *languages: str) -> list[tuple[int, str, bool, str]]:
    """(line, language, is it run, text) of the fences in a page."""
    text = page.read_text()
    return [
        (text.count("\n", 0, found.start()) + 1, found[2], bool(found[3]),
         re.sub(rf"^{found[1]}", "", found[4], flags=re.MULTILINE))
        for found in FENCE.finditer(text) if found[2] in languages
    ]


def commands_in(page: Path) -> list[tuple[str, list[str]]]:
    """Every `lockgate …` command of a page's shell fences, or of a unit file, with its place."""
    found = []
    if page.suffix == ".md":
        pieces = [(line, text) for line, _, _, text in fences(page, "sh")]
    else:
        pieces = [(1, re.sub(r"^#.*", "", page.read_text(), flags=re.MULTILINE))]
    for line, text in pieces:
        for words in re.findall(r"(?:^|[$(|;/]|\buntil )\s*\w*=?(?:\S*/)?lockgate ([a-z](?:\"[^\"]*\"|'[^']*'|[^\n|;&>)#\"'])*)", text, re.MULTILINE):
            found.append((f"{page.relative_to(ROOT)}:{line}", shlex.split(words.replace("\\", " "))))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_exists(generator: ModuleType, page: Path) -> None:
    """A command in the documentation names a verb that exists, with options that it has."""
    known = dict(generator.commands(generator.application(), ("lockgate",)))
    for place, words in commands_in(page):
        path: tuple[str, ...] = ("lockgate",)
        while words and (*path, words[0]) in known:
            path = (*path, words.pop(0))
        assert not getattr(known[path], "commands", {}), f"{place}: {' '.join(path)} has no verb {' '.join(words)}"
        options = {name for parameter in known[path].params for name in parameter.opts}
        for word in words[:words.index("--")] if "--" in words else words:     # what is behind it is another program's
            if word.startswith("-"):
                assert word.partition("=")[0] in options | {"--help"}, f"{place}: {' '.join(path)} {word}"


def whole_configuration(example: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A file that an example is a part of: what it does not say is filled in, and its files are made."""
    whole: dict[str, Any] = {
        "listeners": [{"name": "agents", "protocol": "postgres", "address": "127.0.0.1:6432",
                       "plaintext_tokens": "loopback"}],
        "identity": {"providers": [{"name": "example", "issuer": "https://id.example.com", "audience": "lockgate"}]},
        "connections": [{"name": name, "protocol": "postgres", "address": "127.0.0.1:5432",
                         "credential": {"user": "app"}} for name in ("shop", "crm")],
        **example,
    }
    for entry in whole["connections"]:
        described = (entry.get("options") or {}).get("openapi")
        if described:
            (folder / described).write_text('{"openapi": "3.1.0", "paths": {"/": {"get": {}}}}')
    for entry in whole["identity"].get("certificates", ()):
        for name in ("ca", "crl"):
            if name in entry:
                shutil.copy(CERTIFICATE.authority, folder / entry[name])
    for entry in (*whole["listeners"], *whole["connections"], *whole["identity"]["providers"]):
        tls = {key: value for key, value in {**(entry.get("tls") or {}), "ca": (entry.get("tls") or entry).get("ca")}.items()
               if key in ("certificate", "key", "ca") and value}
        for key, name in tls.items():
            target = folder / Path(name).name
            shutil.copy(getattr(CERTIFICATE, "authority" if key == "ca" else key), target)
            (entry["tls"] if key in (entry.get("tls") or {}) else entry)[key] = str(target)
    return whole


class _Certificate:
    """Set up once by the fixture below."""

    certificate: Path
    key: Path
    authority: Path


CERTIFICATE = _Certificate()


@pytest.fixture(scope="module", autouse=True)
def certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = make_certificate(tmp_path_factory.mktemp("certificate"), "gateway.example.com")
    CERTIFICATE.certificate, CERTIFICATE.key, CERTIFICATE.authority = made.certificate, made.key, made.authority


def yaml_examples() -> list[tuple[str, str]]:
    """Every YAML fence, every configuration in a shell's here-document, and deploy's own file."""
    found = [(f"{page.relative_to(ROOT)}:{line}", text) for page in PAGES if page.suffix == ".md"
             for line, _, _, text in fences(page, "yaml")]
    for page in PAGES:
        if page.suffix == ".yaml":
            found.append((str(page.relative_to(ROOT)), page.read_text()))
        elif page.suffix == ".md":
            found += [(f"{page.relative_to(ROOT)}:{line}", inner) for line, _, _, text in fences(page, "sh")
                      for inner in re.findall(r"lockgate\.yaml <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)]
    return found


@pytest.mark.parametrize(("place", "text"), yaml_examples(), ids=lambda value: value if len(value) < 80 else "")
def test_every_configuration_shown_is_valid(place: str, text: str, tmp_path: Path) -> None:
    """An example can be copied: the loader takes it, with conditions, detectors and names checked."""
    content = yaml.safe_load(text)
    example = {"policies": content} if isinstance(content, list) else content
    path = tmp_path / "lockgate.yaml"
    path.write_text(yaml.safe_dump(whole_configuration(example, tmp_path)))
    load_configuration(path)


def test_a_wrong_example_would_be_found(tmp_path: Path) -> None:
    """The filling-in above hides no mistake of the example itself."""
    path = tmp_path / "lockgate.yaml"
    wrong = {"policies": [{"name": "x", "when": 'op.verb == "delte"', "deny": "no"}]}
    path.write_text(yaml.safe_dump(whole_configuration(wrong, tmp_path)))
    with pytest.raises(ConfigError, match="write `delete`"):
        load_configuration(path)


def test_every_link_leads_somewhere() -> None:
    """A relative link names a file that is there."""
    for page in (page for page in PAGES if page.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


# --- the tutorial, run -------------------------------------------------------------------------


def run_shell(script: str, folder: Path, replaced: dict[str, str]) -> str:
    """Run a script in a process group of its own, and end that group; returns all it printed."""
    shims = folder / "bin"
    shims.mkdir()
    for name, words in (("lockgate", "-m lockgate"), ("python", "")):
        shim = shims / name
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        shim.chmod(0o755)
    for old, new in replaced.items():
        script = script.replace(old, new)
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("PG", "LOCKGATE_")) and "proxy" not in name.lower()}
    environment |= {"PATH": f"{shims}:{os.environ['PATH']}", "COLUMNS": "120"}
    work = folder / "work"
    work.mkdir()
    with (folder / "output").open("w+b") as output:
        process = subprocess.Popen(["bash", "-m", "-e", "-u", "-c", script], cwd=work, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        try:
            code = process.wait(90)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            end_session(process.pid)
        output.seek(0)
        text = output.read().decode(errors="replace")
    logs = "".join(f"\n--- {log.name}\n{log.read_text()[-2000:]}" for log in work.glob("*.log"))
    assert code == 0, f"exit {code}:\n{text}{logs}"
    for old, new in replaced.items():
        text = text.replace(new, old)
    return text


def end_session(leader: int) -> None:
    """End whatever the script left: every process of the session that it led, and no other."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
            if session == leader:
                os.kill(int(entry.name), signal.SIGTERM)
        except (OSError, IndexError, ValueError):
            continue


def require_shown(shown: str, printed: str, place: str) -> None:
    """Each line that is shown was printed, in that order; ``…`` stands for anything."""
    lines = [line.strip() for line in printed.splitlines()]
    at = 0
    for line in filter(None, (line.strip() for line in shown.splitlines())):
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        while at < len(lines) and not pattern.fullmatch(lines[at]):
            at += 1
        assert at < len(lines), f"{place}: never printed: {line}\n\n{printed}"
        at += 1


@pytest.mark.timeout(180)
def test_the_tutorial_runs_as_written(tmp_path: Path) -> None:
    """Whoever copies the tutorial's commands sees what the tutorial shows."""
    missing = [tool for tool in ("psql", "curl", "bash") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: run scripts/install-test-packages")
    blocks = fences(TUTORIAL, "sh", "text")
    script, shown, step = "", [], 0
    for line, language, is_run, text in blocks:
        if language == "sh" and is_run:
            step += 1
            script += f"echo '=== {step}'\n{text}\n"
        elif language == "text":
            shown.append((step, line, text))
    with embedded() as server:
        ports = {"5432": str(server.port), **{port: str(free_port()) for port in ("6432", "8470", "8480")}}
        printed = run_shell(script, tmp_path, ports)
    parts = printed.split("=== ")
    for step, line, text in shown:
        require_shown(text, parts[step], f"{TUTORIAL.name}:{line}")

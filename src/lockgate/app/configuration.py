"""The configuration file, read with everything that this installation knows: protocols, detectors,
the condition language. What `config` alone cannot check is checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from lockgate.audit.recording.sealing import recipient_problem
from lockgate.audit.recording.studio import OnCut, Terms
from lockgate.config.load import Loaded, load
from lockgate.config.policy_checks import Known
from lockgate.config.secrets import read_secret
from lockgate.config.settings import Connection, IdentitySettings
from lockgate.errors import ConfigError
from lockgate.govern.identity import CertificateRules
from lockgate.govern.masking.detectors import DETECTORS, DetectorSet
from lockgate.govern.policy import PolicySet, Vocabulary, on_connection, problem
from lockgate.model import CustomDetector, Secret
from lockgate.protocols import discover
from lockgate.wire.spec import Enforcement, ProtocolSpec

CONNECTION: Final = "*"
"""In place of a rule, where a row of the enforcement table is about the connection itself."""


def vocabulary() -> Vocabulary:
    """Every fact and verb that an installed protocol can report."""
    specs = discover().values()
    return Vocabulary(
        facts=frozenset().union(*(spec.facts for spec in specs)),
        verbs=frozenset().union(*(spec.verbs for spec in specs)),
        qualified={fact: example for spec in specs for fact, example in spec.qualified.items()},
    )


def _detector_problem(custom: CustomDetector) -> str | None:
    """What is wrong with a detector of the file's own, and what to write instead."""
    try:
        DetectorSet.of((custom,))
    except ConfigError as error:
        return f"{error}; {error.advice()}" if error.advice() else str(error)
    return None


def _connection_problems(connection: Connection) -> Iterable[tuple[tuple[str, ...], str]]:
    """What its protocol finds wrong with a connection whose single values are right."""
    spec = discover().get(connection.protocol)
    return spec.problems(connection) if spec is not None and isinstance(connection.options, spec.settings) else ()


def _attached(protocol: str, options: BaseModel, folder: Path) -> tuple[BaseModel, tuple[Path, ...]]:
    """A connection's options with what the files hold that they name."""
    return discover()[protocol].attach(options, folder)


def load_configuration(path: Path) -> Loaded:
    """Read and check a file with everything that this installation knows; `ConfigError` names lines."""
    known = Known(
        protocols={name: spec.settings for name, spec in discover().items()},
        detectors=frozenset(DETECTORS),
        condition=partial(problem, vocabulary=vocabulary()),
        detector=_detector_problem,
        recipient=recipient_problem,
        userless=frozenset(name for name, spec in discover().items() if not spec.needs_user),
        proxies=frozenset(name for name, spec in discover().items() if spec.proxies),
        piped=frozenset(name for name, spec in discover().items() if spec.piped is not None),
        connection=_connection_problems,
        attach=_attached,
    )
    return load(path, known)


def certificates_of(identity: IdentitySettings) -> dict[str, CertificateRules]:
    """How certificates of clients are read, by name."""
    return {one.name: CertificateRules(
        one.name, one.ca, one.subject, one.crl, one.required, one.issuer or "", one.agent, one.groups, one.units,
    ) for one in identity.certificates}


def compile_policy(loaded: Loaded) -> PolicySet:
    """The rules, compiled; `ConfigError` names the rule's line."""
    return PolicySet.compile(
        loaded.rules, loaded.policy_hash, vocabulary(), ZoneInfo(loaded.settings.timezone))


def recording_terms(loaded: Loaded) -> Terms:
    """How sessions are recorded."""
    recording = loaded.settings.audit.recording
    return Terms(recording.recipients, recording.record, recording.max_bytes, OnCut(recording.on_limit),
                 OnCut(recording.on_error), recording.max_content, recording.max_binary)


def credential_of(connection: Connection) -> Secret:
    """The backend credential, read now; empty where none is configured."""
    password = connection.credential.password
    return Secret("") if password is None else read_secret(password)


def rows_for(loaded: Loaded, spec: ProtocolSpec, connection: Connection, catalogue: Any) -> list[Enforcement]:
    """How each rule that can apply is held on a connection, and whether its sessions can be recorded where they shall be."""
    applying = [on_connection(rule, connection.name) for rule in loaded.rules
                if not rule.connections or connection.name in rule.connections]
    rows = spec.enforce(connection.name, connection.options, applying, catalogue)
    if loaded.settings.audit.recording.record if connection.record is None else connection.record:
        asked = "`audit.recording.record`" if connection.record is None else "`record`"
        rows.append(_recorded(CONNECTION, asked, spec, connection))
    return rows + [_recorded(rule.name, f"rule `{rule.name}`", spec, connection, is_raw=rule.record_raw)
                   for rule in applying if rule.record]


def _recorded(rule: str, asked: str, spec: ProtocolSpec, connection: Connection, *, is_raw: bool = False) -> Enforcement:
    """How a recording is held that was `asked` for: the driver records what it writes, or what the protocol's tap makes of it."""
    how = "both directions at the client's end, results as they are masked; encrypted, and committed to by the log"
    if spec.recording is not None and spec.recording.tap is not None:
        how = "requests as they go on, answers as they are masked; encrypted, and committed to by the log"
    if is_raw:
        how += "; the backend's end too, before masks"
    problem = None
    if spec.recording is None:
        problem = f"sessions of {spec.title} cannot be recorded, as {asked} wants"
    elif not connection.address and spec.recording.piped is None:
        problem = f"sessions of {spec.title} with a program cannot be recorded, as {asked} wants"
    elif is_raw and spec.recording.tap is not None:
        problem = f"sessions of {spec.title} are recorded behind their masks only; write `record`"
    return Enforcement(connection.name, rule, "record raw" if is_raw else "record", how, problem)


def described(loaded: Loaded, row: Enforcement) -> str:
    """What is wrong with a rule on a connection, or with the connection, with the line that says so."""
    what = row.problem or row.doubt
    if row.rule == CONNECTION:
        return f"connection {row.connection}: {what}"
    return f"{loaded.place(row.rule, row.subject)}: rule {row.rule} on connection {row.connection}: {what}"


def refuse_problems(loaded: Loaded, rows: Sequence[Enforcement]) -> None:
    """`ConfigError` for rules that cannot be enforced (I5), by name, line and reason."""
    found = [described(loaded, row) for row in rows if row.problem is not None]
    if found:
        raise ConfigError("\n".join(found), advice="`lockgate check` shows how every rule is enforced.")

"""The leak test's own ground: a schema with canaries, made over a direct connection and dropped at the end.

Apart from `columns`, the ground that is somebody's own and only read. The canaries are new in every run, and made so
that no detector of content takes them for what it knows: what hides them has to be the mask of their column.
Everything has a name with the prefix ``lk_`` in schemas of its own, so that no statement of anybody else can mean it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from lockgate.protocols.postgres.leaktest.corpus import benign_templates, filled, templates
from lockgate.wire.leaktest import Canary, Ground, Shape, Shot

SCHEMA: Final = "lockgate_leaktest"
OTHER: Final = "lockgate_leaktest_2"
_HOLE: Final = re.compile(r"\{(\w+)\}")
_PROBES: Final = (
    ("lk_t", "ssn"), ("lk_t", "n"), ("lk_one", "ssn"), ("lk_pt", "ssn"), ("lk_chi", "ssn"), ("lk_typed", "ssn"),
    ("lk_contacts", "email"), ('"lk Mixed"', '"SSN"'), ("lk_kinds", "secret_uuid"), (f"{OTHER}.lk_dup", "ssn"),
)
_LABELLED: Final = (f"{SCHEMA}*.*.ssn", f"{SCHEMA}.*.SSN", f"{SCHEMA}.lk_t.n", f"{SCHEMA}.lk_contacts.email",
                    f"{SCHEMA}.lk_kinds.secret_*")


def scratch() -> Ground:
    """A new ground with new canaries. Nothing is made by this."""
    one, two, mail = _code(), _code(), "".join(secrets.choice("bcdfghjkmnpqrstvwxz") for _ in range(14))
    values = {"rel": f"{SCHEMA}.lk_t", "col": "ssn", "only": "", "schema": SCHEMA, "other": OTHER}
    shapes = tuple(_certain(filled(template, values, one)) for template in templates())
    benign = tuple(_certain(filled(template, values, one)) for template in benign_templates())
    return Ground(
        canaries=(Canary("first", one), Canary("second", two), Canary("mail", mail)),
        shapes=shapes, benign=benign, opening=(f"SET search_path = {SCHEMA}",),
        probes={f"{relation.removeprefix(OTHER + '.')}.{column}": Shot((f"SELECT {column} FROM {relation}",))  # noqa: S608
                for relation, column in _PROBES},
        is_read_only=False, policy=_policy(),
        guard=_text("guard", {}), build=(_DROP, _text("", _values(one, two, mail))), drop=(_DROP,), state=_text("state", {}),
        harvest=tuple(line for line in _text("harvest", {}).splitlines() if line.startswith("SELECT")),
    )


def _certain(shape: Shape | None) -> Shape:
    assert shape is not None
    return shape


def _code() -> str:
    """Twelve digits and two dashes: no number of a card, a person, a telephone or a date. The first digit is small, so that
    a wrong guess is the greater one."""
    digits = str(1 + secrets.randbelow(4)) + "".join(str(secrets.randbelow(10)) for _ in range(11))
    return f"{digits[:5]}-{digits[5:7]}-{digits[7:]}"


def _text(name: str, values: Mapping[str, str]) -> str:
    """One of the files beside this one, filled in; braces that are no hole of it stay."""
    path = files("lockgate.protocols.postgres.leaktest").joinpath(f"scratch_{name}.sql" if name else "scratch.sql")
    known = {"schema": SCHEMA, "other": OTHER, **values}
    return _HOLE.sub(lambda found: known.get(found[1], found[0]), path.read_text(encoding="utf-8"))


def _values(one: str, two: str, mail: str) -> dict[str, str]:
    raw = secrets.token_bytes(24)
    day = 20_000 + secrets.randbelow(10_000)
    return {
        "a": one, "b": two, "na": one.replace("-", ""), "nb": two.replace("-", ""),
        "mail": mail, "i4": str(300_000_000 + secrets.randbelow(1_700_000_000)), "hex": raw[:12].hex(),
        "date": f"(date '2000-01-01' + {day})", "uuid": raw[:16].hex(),
        "time": f"{raw[0] % 24:02}:{raw[1] % 60:02}:{raw[2] % 60:02}.{raw[3]:03}",
        "inet": f"{101 + raw[4] % 100}.{raw[5]}.{raw[6]}.{raw[7]}", "mac": ":".join(f"{byte:02x}" for byte in raw[8:14]),
    }


def _policy() -> str:
    columns = ", ".join(f'"{glob}"' for glob in _LABELLED)
    return f"- name: leaktest\n  mask:\n    - {{columns: [{columns}], with: redact}}\n"


_DROP: Final = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; DROP SCHEMA IF EXISTS {OTHER} CASCADE"

"""What the compared databases hold: schema, the two sides' labelled values, and the masks in force.

The one place for masks: whoever compares takes them from here. A model's sides touch the same rows in
the same order, so that all that is not labelled stays equal, physical order included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockgate.model import ColumnMask, MaskMethod, Predicates

SIDES: Final = ("one", "two")
_HERE: Final = Path(__file__).parent
_DATA: Final = _HERE.parents[1] / "tests" / "data"


@dataclass(frozen=True, slots=True)
class Model:
    """A schema and its two sides. `masks` hide every column in which they differ; `path` is the search path."""

    name: str
    setup: tuple[str, ...]
    sides: Mapping[str, str]
    masks: tuple[ColumnMask, ...]
    path: str
    closed: frozenset[str] = frozenset()        # relations that are refused whatever is asked of them


def _mask(method: MaskMethod, *columns: str) -> ColumnMask:
    """Predicates compare with masks: what refuses fewer statements has more to prove."""
    return ColumnMask(columns, method, Predicates.MASKED)


def _shapes(*names: str) -> tuple[str, ...]:
    return tuple(json.loads((_DATA / name).read_text())["setup"] for name in names)


CANARIES: Final = ("219-09-9999", "219-09-9998")
_OTHERS: Final = ("481-77-1234", "481-77-1235")
_FILL: Final = """
do $fill$ declare found record; begin
  for found in select c.oid::regclass as relation, quote_ident(attname) as label from pg_attribute a
      join pg_class c on c.oid = attrelid where relkind = 'r' and attname in ('ssn', 'SSN') and attnum > 0
      order by c.oid, attnum loop
    execute format($$update only %1$s set %2$s = replace(replace(%2$s, '{canaries[0]}', '{values[0]}'),
                     '{canaries[1]}', '{values[1]}')$$, found.relation, found.label);
  end loop;
end $fill$;
update p.t set n = n + {shift};
update p.contacts set email = {email};
"""

SHAPES: Final = Model(
    "shapes", _shapes("leak-shapes.json", "adversarial-shapes.json"),
    {"one": _FILL.format(canaries=CANARIES, values=CANARIES, shift=0, email="email"),
     "two": _FILL.format(canaries=CANARIES, values=_OTHERS, shift=262672235, email="'abc@example.com'")},
    (_mask(MaskMethod.REDACT, "*.ssn", "*.SSN", "t.n"), _mask(MaskMethod.PARTIAL, "contacts.email")),
    "p",
)
"""The schema of the leak shapes: `one` holds the canaries."""

_PEOPLE: Final = """
ssn score points rank ratio flag salary birthday seen wake span token profile doc photo tags marks level address
period initials code reach
""".split()
_REDACTED: Final = (
    *(f"crm.people.{column}" for column in _PEOPLE),
    "accounts.iban", "accounts.balance", "payments.iban", "payments.card", "events*.secret", "events*.weight",
    "devices.imei", "phones.number", "Mixed?Case.Secret?Word",
)
CRM: Final = Model(
    "crm", ((_HERE / "crm.sql").read_text(),),
    {side: (_HERE / f"crm-{side}.sql").read_text() for side in SIDES},
    (_mask(MaskMethod.REDACT, *_REDACTED), _mask(MaskMethod.PARTIAL, "people.email"),
     _mask(MaskMethod.NULL, "people.nick", "accounts.limit_of")),
    "crm", frozenset(("crm.mv_rich", "crm.mv_levels", "crm.mv_many")),
)
"""A shop with labelled columns of many types: the schema that statements are generated for."""

_WARDS: Final = """
create schema w;
set search_path = w;
create table wards (id int, ward text, note text) partition by list (ward);
create table wards_a partition of wards for values in ('a');
create table wards_rest partition of wards default partition by range (id);
create table wards_low partition of wards_rest for values from (minvalue) to (100);
create table beds (id int primary key, note text);
insert into beds values (1, 'x'), (2, 'y'), (3, null);
create view v_wards as select id, note from wards;
create view v_low as select id from wards_low;
create materialized view mv_where as select id, tableoid::regclass as place from wards;
"""
_FILL_WARDS: Final = "set search_path = w; insert into wards values {}; analyze wards;"
SPLIT: Final = Model(
    "split", (_WARDS,),
    {"one": _FILL_WARDS.format("(1, 'a', 'p'), (2, 'b', 'q'), (3, 'a', 'r'), (4, 'c', null)"),
     "two": _FILL_WARDS.format("(1, 'd', 'p'), (2, 'a', 'q'), (3, 'e', 'r'), (4, 'f', null)")},
    (_mask(MaskMethod.REDACT, "wards.ward"),), "w",
)
"""A table that is split by a labelled column: where its rows lie tells of the values. Apart from CRM, because
without ORDER BY its rows come partition by partition, and the physical order of rows is not claimed."""

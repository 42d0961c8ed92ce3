"""PostgreSQL, wire protocol 3.0 and 3.2. See README.md for what is masked and what is refused."""

from __future__ import annotations

from lockgate.analysis.sql import FACTS, QUALIFIED, VERBS, column_names
from lockgate.model import Activity, Exported
from lockgate.protocols.postgres.enforcement import enforce
from lockgate.protocols.postgres.leaktest import SUITE
from lockgate.protocols.postgres.login import login
from lockgate.protocols.postgres.probe import probe
from lockgate.protocols.postgres.recorded import SqlDecoder
from lockgate.protocols.postgres.settings import PostgresSettings
from lockgate.wire.spec import ProtocolSpec, RecordingSpec

SPEC = ProtocolSpec(
    name="postgres",
    title="PostgreSQL",
    default_port=5432,
    settings=PostgresSettings,
    login=login,
    probe=probe,
    enforce=enforce,
    facts=FACTS,
    verbs=VERBS,
    qualified=QUALIFIED,
    columns=column_names,
    recording=RecordingSpec("sql", SqlDecoder),
    leaktest=SUITE,
    exported=Exported(Activity.DATASTORE, "postgresql"),
    noun="statement",
)

__all__ = ["SPEC"]

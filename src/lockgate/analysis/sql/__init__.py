"""Reading SQL: what a statement does, and how to forward it so that protected columns stay protected.

Pure. `Analyzer.statement` needs the text alone; `Analyzer.mask` needs a `Catalogue`, the masks in
force and the names that exist only in the session. Files, from the text inwards: `text` (comments,
limits), `parser`, `reading` (one walk over PostgreSQL's own parse tree), `conditions`, `copying`, `effects` (→ `Statement`),
`code` and `catalogue` (what a database holds and runs), `routines/` (what its code does), `covers`, `labels` and
`lineage` (what is protected), `taint/` (what depends on it), `predicates` (what policy lets it do), `masks`,
`projection`, `returning`, `permitted`, `placement` and `datum` (where constants go), `splice`, `rewrite` (→ `Masked` or a refusal), `touched` and `estimates` (for
conditions), `analyzer` (caches, which are `recent`).
"""

from __future__ import annotations

from lockgate.analysis.sql.analyzer import AnalysisLimits, Analyzer
from lockgate.analysis.sql.builtin_types import BY_NAME
from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.copying import CopyOptions
from lockgate.analysis.sql.covers import Cover, KnownColumns
from lockgate.analysis.sql.cursors import Reach
from lockgate.analysis.sql.datum import Data, Uses, data_of, settings_of
from lockgate.analysis.sql.enforcement import column_names, enforce_masks, unknown_name
from lockgate.analysis.sql.errors import NotUnderstood
from lockgate.analysis.sql.estimates import ESTIMATES, QUESTION, Estimate, is_explainable, read_estimate
from lockgate.analysis.sql.literals import Literal, literals, replaced
from lockgate.analysis.sql.masks import redacted
from lockgate.analysis.sql.placement import Placed
from lockgate.analysis.sql.predicates import Lookup, ResultMask, ShownColumn
from lockgate.analysis.sql.recent import Recent
from lockgate.analysis.sql.session import SHOWS_VALUES, SessionNames
from lockgate.analysis.sql.statement import FACTS, QUALIFIED, RESOLVED, VERBS, Masked, Naming, Statement
from lockgate.analysis.sql.touched import Touched, touched

__all__ = [
    "BY_NAME", "ESTIMATES", "FACTS", "QUALIFIED", "QUESTION", "RESOLVED", "SHOWS_VALUES", "VERBS", "AnalysisLimits",
    "Analyzer", "Catalogue", "CopyOptions", "Cover", "Data", "Estimate", "KnownColumns", "Literal", "Lookup", "Masked", "Naming",
    "NotUnderstood", "Placed", "Reach", "Recent", "ResultMask", "SessionNames", "ShownColumn", "Statement", "Touched", "Uses",
    "column_names", "data_of", "enforce_masks", "is_explainable", "literals", "read_estimate", "redacted", "replaced", "settings_of",
    "touched", "unknown_name",
]

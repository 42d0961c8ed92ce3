"""Reading SQL: what a statement does, and how to forward it so that protected columns stay protected.

Pure. `Analyzer.statement` needs the text alone; `Analyzer.mask` needs a `Catalogue`, the masks in
force and the names that exist only in the session. Files, from the text inwards: `text` (comments,
limits), `reading` (one walk over PostgreSQL's own parse tree), `conditions`, `copying`, `effects` (→ `Statement`),
`catalogue`, `covers`, `labels` and `lineage` (what is protected), `masks`, `permitted`, `splice`, `rewrite`
(→ `Masked` or a refusal), `touched` and `estimates` (for conditions), `analyzer` (caches).
"""

from __future__ import annotations

from lockgate.analysis.sql.analyzer import AnalysisLimits, Analyzer
from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.copying import CopyOut
from lockgate.analysis.sql.covers import KnownColumns
from lockgate.analysis.sql.enforcement import enforce_masks
from lockgate.analysis.sql.errors import NotUnderstood
from lockgate.analysis.sql.estimates import ESTIMATES, QUESTION, Estimate, is_explainable, read_estimate
from lockgate.analysis.sql.masks import redacted
from lockgate.analysis.sql.session import SessionNames
from lockgate.analysis.sql.statement import FACTS, RESOLVED, VERBS, Masked, Naming, Statement
from lockgate.analysis.sql.touched import Touched, touched

__all__ = [
    "ESTIMATES", "FACTS", "QUESTION", "RESOLVED", "VERBS", "AnalysisLimits", "Analyzer", "Catalogue", "CopyOut", "Estimate", "KnownColumns", "Masked", "Naming", "NotUnderstood", "SessionNames",
    "Statement", "Touched", "enforce_masks", "is_explainable", "read_estimate",
    "redacted", "touched",
]

"""Taint: which parts of a statement's result depend on labelled columns, by data or by control.

Pure analysis of PostgreSQL's own parse tree over a catalogue. It decides what a policy may say of predicates,
which output columns carry a labelled column's value unchanged, what DML writes and returns, and the lineage
for the record. Masking at the source (`rewrite`) does not lean on it.

Why a statement that is called clean is clean
---------------------------------------------
Every function and operator that is let through is a function of its arguments (`functions`, `labels`); this is
taken for granted here. Then, by induction over the tree:

- the value of an expression in one row is a function of the columns that occur in it, at any depth, and of the
  rows of its sub-selects; `sources` is the union over all of them, so a value without sources is the same
  whatever the labelled columns hold, as long as the sub-selects' rows are;
- which rows a query has, how often and in which order, is a function of its FROM and of the expressions in
  WHERE, ON, USING, GROUP BY, HAVING, DISTINCT, ORDER BY, LIMIT, of windows, of the membership tests of set
  operations, of EXISTS, IN and ANY, and of how many rows functions return. Each of these with a source is in
  `controls` or `equalities`, at any depth and inside of views;
- a name stands for what the server would resolve it to, or for more: what can mean several columns or
  relations is the union over them, what cannot be resolved makes everything sensitive (`is_top`).

So with no `controls` and no `equalities`, an output without `sources` is the same on two databases that differ
in labelled columns only; with none at all (`Taint.is_clean`) the whole result is.

Not claimed: timing; the physical order of rows, where no ORDER BY gives one, and what LIMIT without one picks;
estimates in EXPLAIN; whether an expression fails whose value is not used (`computed` names what could) or a
constraint refuses a row; triggers, rules, defaults and row security; which partition a row is in, where a
labelled column decides; changes made by others meanwhile.

Files, from the words inwards: `result`; `rows`, `scope` (names), `naming`, `sets`, `relations` (and views);
`equality`, `expressions`, `ranges` (FROM), `queries`, `changes` (DML), `statement` (the entrance).
"""

from __future__ import annotations

from lockgate.analysis.sql.taint.equality import is_uncut
from lockgate.analysis.sql.taint.relations import InSession
from lockgate.analysis.sql.taint.result import (
    Constant,
    Control,
    Equality,
    Output,
    Reference,
    Source,
    Sources,
    Taint,
    Write,
)
from lockgate.analysis.sql.taint.scope import Budget
from lockgate.analysis.sql.taint.statement import taint_of

__all__ = [
    "Budget", "Constant", "Control", "Equality", "InSession", "Output", "Reference", "Source", "Sources", "Taint", "Write",
    "is_uncut", "taint_of",
]

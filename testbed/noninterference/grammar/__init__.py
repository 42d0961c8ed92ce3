"""Statements of our own, by a seed: a grammar that knows the types of the columns it uses.

It puts labelled columns, and sub-selects from them, into every place that a statement has; most of what it
writes runs and has rows, so that a comparison says something. Files: `schema` (what there is), `templates`
(expressions by type), `expressions`, `queries`, `changes` (INSERT, UPDATE, DELETE, MERGE) and `statements`
(all of it in every wrapping: COPY, cursors, prepared statements, EXPLAIN, parameters).
"""

from __future__ import annotations

from testbed.noninterference.grammar.statements import Grammar

__all__ = ["Grammar"]

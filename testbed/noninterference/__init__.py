"""Noninterference: two databases, equal except in the labelled columns, answer every statement alike.

The oracle of the masks. It trusts nothing that the analysis says of a statement: it runs it and compares
everything that a client would have received. Files: `models` (what the databases hold, and the masks),
`databases` (the two sides, on servers that are kept in step), `outcome` (what a client received), `direct`
(analysis and rewriting without a gateway), `through` (the real gateway), `comparison` (equal, unsettled
or different), `harness` (one statement after the other, with figures), `statements` (lists, recordings),
`smith` (Debian's sqlsmith) and `grammar` (statements of our own, by a seed).
"""

"""Reading the code of a database: what a function, procedure, trigger or DO block does, with all that it calls.

Files, from a text outwards: `declarations` and `plpgsql` (a body → what it evaluates), `bodies` (a definition,
read once), `calls` (which routines a statement may run), `closure` (with all that these run in turn),
`verdicts` (what that means for the labels), `flows` (where triggers put protected values), `resolved` (what
it means for a policy).

Known: SQL, BEGIN ATOMIC and PL/pgSQL bodies; aggregates, operators, casts, checks of domains, defaults, column
checks, index expressions, row-level policies and event triggers by the functions that they call. Not known, and
so opaque: C and every other language, EXECUTE of anything but a constant, definitions of code, what PostgreSQL's
own grammars do not read, and recursion through more than `closure.MOST_ROUTINES` routines.
"""

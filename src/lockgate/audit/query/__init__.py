"""SQL over the log, by DuckDB. Imported only where somebody asks: the engine is large.

Reads a snapshot into tables of its own; a question can change neither the log nor anything else.
"""

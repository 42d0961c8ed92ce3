"""Getting the record out: what reads the log by a cursor and gives it to somebody else, at least once.

Never in the commit path: everything here reads snapshots of what is durable already, and a target that
cannot be reached delays nobody but itself.
"""

"""The log in a PostgreSQL database: the store of a fleet, behind the same contract as a file's.

`place` says where the database is, `connection` drives a connection for callers that have no event
loop, `schema` makes and checks the tables, `store` writes, `source` reads, `shards` are the leases by
which gateways share the logs out among them.
"""

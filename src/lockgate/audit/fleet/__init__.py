"""Many gateways, one trail: shards with stable names that gateways hold by lease, and the fleet's own log.

`membership` is a gateway's place among the others, `witness` writes the fleet log, whose leaves are the
shards' signed checkpoints, `verification` holds all of it together.
"""

"""Real things to run against: PostgreSQL servers, a development issuer, gateways.

Used by the demo, the end-to-end tests and the benchmarks, so that all three run what a user runs:
`lockgate serve -c lockgate.yaml` in a process of its own.
"""

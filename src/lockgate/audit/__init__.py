"""The tamper-evident log: usable, and verifiable, without the gateway.

`log.AuditLog` writes, `verify.verify_log` proves, `reader.Reader` shows. Formats: `entry` (canonical
leaves), `tree` (RFC 6962), `checkpoint` (C2SP signed notes), `commitment` (payloads).
"""

"""Recordings of sessions: what passed, encrypted for the auditor, and committed to by the log.

    loop    `tape.Tape` takes events, bounded; whoever feeds it waits while it is full
    thread  `reel.Reel` → `scrub` → `events` (plaintext) → `sealing` (zstandard, age) → file, fsync
    loop    `AuditLog.mark`: how many chunks, how many bytes, and the root over the ciphertext

`studio.Studio` has all tapes of a process. `playback` reads a file with the auditor's identity, `coverage` says what of
a session is recorded. The container and its check without any key are `evidence.recordings`.
"""

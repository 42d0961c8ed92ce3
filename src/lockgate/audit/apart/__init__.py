"""The writer in a process of its own, so that hashing, sealing and SQLite do not fight the driver for
the interpreter's lock.

`link.Link` is the gateway's end, `__main__` the program at the other one, `frames` what passes between
them: over a socket pair that nobody else can reach, a batch of drafts one way and a signed checkpoint
the other. The guarantees are those of `writer.Writer`, because it is what runs over there.
"""

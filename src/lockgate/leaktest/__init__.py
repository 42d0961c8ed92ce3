"""THE LEAK TEST: a client that fires at somebody's gateway and looks for what must not come back.

Stands apart from the gateway's own folders because it runs on the other side of the wire and shares none
of its judgement: what it finds, it finds in the bytes. What is fired, and how, comes from a protocol
(`wire.leaktest`); here are the socket, the search, the run and the report.
"""

"""C2SP tlog-witness: getting the log's checkpoints cosigned (`client`), and cosigning others' (`witness`).

No sockets here: `net.witnesses` posts, `control.witness` serves, `app.witnessing` decides when.
"""

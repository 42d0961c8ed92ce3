"""Who signs the log's checkpoints: a key file, a process of its own, or a key service; and the change of keys.

A key file signs inside the commit (`notary.Prompt`). What signs elsewhere (`remote`, `kms`) may be slow or
away, so it signs trees that are durable already (`notary.Lagging`): a signature can then never be of
entries that a crash took away, and one that was lost on its way is asked for again.
"""

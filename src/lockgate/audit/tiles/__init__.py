"""The log as C2SP tlog-tiles: published from a store, read from a folder or a URL, proven and verified.

Everything here is derived: whoever deletes the published folder gets it back from the store.
"""

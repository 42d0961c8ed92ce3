"""The kernel: the loops over every byte, typed so that mypyc compiles them (no protocol's names)."""

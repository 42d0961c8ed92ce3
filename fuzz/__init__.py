"""Long random runs, beside the short ones in the tests. `make fuzz ARGS=--seconds=60`."""

"""Measurements: ratios within one run, never absolute promises. `make bench` runs `python -m bench`."""

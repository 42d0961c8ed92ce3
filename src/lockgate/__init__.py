"""Lockgate: in-transit data governance for AI agents."""

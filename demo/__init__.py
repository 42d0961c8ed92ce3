"""The demo: a real AutoGen team, a real PostgreSQL, and the gateway between them."""

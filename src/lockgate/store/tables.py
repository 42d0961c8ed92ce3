"""The tables, as SQLAlchemy Core sees them. The migrations make them; a test holds the two equal."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, MetaData, String, Table, Text

metadata = MetaData()

reviews = Table(
    "reviews",
    metadata,
    Column("ticket", String(32), primary_key=True),
    Column("binding", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("requester_issuer", Text, nullable=False),
    Column("requester_subject", Text, nullable=False),
    Column("requester_agent", Text),
    Column("connection", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("rules", JSON, nullable=False),
    Column("reviewer_groups", JSON, nullable=False),
    Column("also_groups", JSON, nullable=False),
    Column("policy_hash", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("reviewer_issuer", Text),
    Column("reviewer_subject", Text),
    Column("decided_at", Float),
    Column("comment", Text),
    Column("context", JSON, nullable=False),
    Index("reviews_by_binding", "binding", "state"),
    Index("reviews_by_state", "state", "created_at"),
)

definitions = Table(
    "definitions",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("accepted", String(64), nullable=False),
    Column("seen", String(64), nullable=False),
    Column("accepted_text", Text, nullable=False),
    Column("seen_text", Text, nullable=False),
)

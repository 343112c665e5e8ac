"""Connections to PostgreSQL and single statements: what every store stands on."""

"""Secrets, redaction, rate limits, validation, authentication and authorisation."""

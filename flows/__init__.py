"""Wiring and words: the Prefect flows and the command line."""

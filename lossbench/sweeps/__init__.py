"""Sweeps: every input of a range, or the worst that a search finds, each error proved by the reference."""

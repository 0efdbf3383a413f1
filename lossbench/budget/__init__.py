"""Budgets: the errors that a version of a framework was measured to stay within, one file each, written by a tool.

A number is kept for every case, with a digest of what went in, so that like is compared with like: a run with other
points is neither better nor worse, it is another measurement.
"""

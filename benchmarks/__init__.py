"""The asv benchmarks of lossbench."""

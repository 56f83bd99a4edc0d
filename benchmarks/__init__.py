"""Benchmarks that start real processes: ``python -m benchmarks WHAT …``. Their lines are described in ``report``."""

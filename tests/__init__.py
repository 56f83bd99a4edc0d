"""The tests. Long runs live in benchmarks/; each test here ends within its timeout."""

"""Tests on real processes: nodes, a coordinator, the command line."""

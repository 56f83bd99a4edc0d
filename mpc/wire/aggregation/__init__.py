"""Generated from proto/unseen/aggregation by proto/generate.py."""

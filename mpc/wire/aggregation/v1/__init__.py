"""Generated from proto/unseen/aggregation/v1 by proto/generate.py."""

"""Generated from proto/unseen/lookup/v1 by proto/generate.py."""

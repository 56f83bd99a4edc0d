"""Generated from proto/unseen/lookup by proto/generate.py."""

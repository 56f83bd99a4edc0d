"""Generated from proto/unseen/validate by proto/generate.py."""

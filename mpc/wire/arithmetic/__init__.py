"""Generated from proto/unseen/arithmetic by proto/generate.py."""

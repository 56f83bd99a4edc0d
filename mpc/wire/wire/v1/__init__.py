"""Generated from proto/unseen/wire/v1 by proto/generate.py."""

"""Generated from proto/unseen/wire by proto/generate.py."""

"""Generated from proto/unseen/learning by proto/generate.py."""

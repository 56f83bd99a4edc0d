"""Generated from proto/unseen/matvec by proto/generate.py."""

"""Generated from proto/unseen/matvec/v1 by proto/generate.py."""

"""Generated from proto/unseen/coordinator/v1 by proto/generate.py."""

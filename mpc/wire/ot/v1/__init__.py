"""Generated from proto/unseen/ot/v1 by proto/generate.py."""

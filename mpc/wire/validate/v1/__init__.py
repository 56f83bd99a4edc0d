"""Generated from proto/unseen/validate/v1 by proto/generate.py."""

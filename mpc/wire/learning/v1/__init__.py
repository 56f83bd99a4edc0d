"""Generated from proto/unseen/learning/v1 by proto/generate.py."""

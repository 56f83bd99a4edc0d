"""Generated from proto/unseen/arithmetic/v1 by proto/generate.py."""

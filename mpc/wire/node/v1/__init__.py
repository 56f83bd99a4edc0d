"""Generated from proto/unseen/node/v1 by proto/generate.py."""

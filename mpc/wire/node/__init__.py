"""Generated from proto/unseen/node by proto/generate.py."""

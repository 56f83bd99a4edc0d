"""Generated from proto/unseen/ot by proto/generate.py."""

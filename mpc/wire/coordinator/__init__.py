"""Generated from proto/unseen/coordinator by proto/generate.py."""

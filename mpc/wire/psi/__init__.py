"""Generated from proto/unseen/psi by proto/generate.py."""

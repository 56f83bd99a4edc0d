"""Generated from proto/unseen/psi/v1 by proto/generate.py."""

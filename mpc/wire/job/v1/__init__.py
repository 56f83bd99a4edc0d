"""Generated from proto/unseen/job/v1 by proto/generate.py."""

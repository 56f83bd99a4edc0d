"""Generated from proto/unseen/job by proto/generate.py."""

"""Validation: whether what somebody claims agrees with what several sources hold; a grade comes out, and no number."""

"""Runnable examples, each one run by a test."""

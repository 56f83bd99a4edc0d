"""Slow references in plain Python, each written from its standard's text. They are the judges of the native core.

Nothing here is constant-time, and nothing here may be used for anything but tests.
"""

"""Code generated from the .proto files by proto/generate.py. Do not edit: `make proto` writes it, a test compares it."""

"""Generated from the .proto files. Do not edit: `make proto` writes it, and a test compares."""

"""The engine that a protocol stands on: channels, sessions, randomness, suites, kernels and data. It knows no protocol."""

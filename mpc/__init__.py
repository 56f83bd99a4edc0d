"""The engine that a protocol stands on: channels, sessions, randomness, suites, kernels, data. It knows no protocol."""

"""The party node: one port, a policy gate, and a resident process for each data product."""

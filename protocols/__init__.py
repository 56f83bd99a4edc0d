"""The protocols: one file per method, both roles side by side. They import mpc, never unseen and never a transport."""

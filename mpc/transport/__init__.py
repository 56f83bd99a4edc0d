"""How bytes travel: in memory, over gRPC, over a simulated network, out of a recording. Protocols never import this."""

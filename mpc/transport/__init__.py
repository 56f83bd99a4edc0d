"""How bytes travel: in memory, over gRPC, over a simulated network, or out of a recording. Protocols never import this."""

"""The application on top of the protocols: the party node, the coordinator, governance and the command line."""

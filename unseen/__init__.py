"""The application on top of the protocols: the party node, the coordinator, governance and the command line."""

from importlib.metadata import version

__version__ = version("unseen")
"""Version of the installed distribution."""

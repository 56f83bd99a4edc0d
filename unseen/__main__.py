"""``python -m unseen``: the same as the command ``unseen``."""

from unseen.cli import main

main()

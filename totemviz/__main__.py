"""``python -m totemviz``."""

from totemviz.cli import main

main()

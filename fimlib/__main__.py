"""``python -m fimlib`` is ``fimlib``."""

from fimlib.cli import main

main()

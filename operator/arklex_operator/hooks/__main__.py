"""``python -m arklex_operator.hooks``."""

from arklex_operator.hooks.main import main

main()

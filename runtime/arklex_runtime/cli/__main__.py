"""``python -m arklex_runtime.cli``: the command without its script."""

import sys

from arklex_runtime.cli.main import main

sys.exit(main())

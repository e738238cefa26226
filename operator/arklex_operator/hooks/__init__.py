"""What the chart's hooks run, ``arklex-hooks``: passwords before an install, order before an uninstall, ``helm test``."""

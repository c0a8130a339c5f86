"""Ends the process when it is imported, as a script without a main guard does."""

raise SystemExit("usage: exits FILE")

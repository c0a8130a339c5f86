"""A hub for a long time, and what it needs of memory, files and log."""

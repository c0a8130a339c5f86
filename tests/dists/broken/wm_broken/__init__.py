"""One distribution with every mistake that a plugin can make; each entry point is one."""

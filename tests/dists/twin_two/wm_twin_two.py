"""One of two that register the same name; importing either would be choosing."""

raise AssertionError("a plugin was imported that nobody could have meant")

"""A plugin's module that looks for its backend while it is imported."""

import contextlib
import socket

from .example import ExampleManager

with contextlib.suppress(OSError):
    socket.create_connection(("127.0.0.1", 9), timeout=0.5).close()


class CallsAtImport(ExampleManager):
    """L3."""

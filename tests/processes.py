"""What a process has, as Linux tells it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def resident(pid: int) -> int:
    """Its resident memory, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> list[str]:
    """What each of its file descriptors leads to, such as ``socket:[1]``."""
    found = []
    for each in os.scandir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(each.path))
    return found

"""What a result was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def machine(load: float, apiserver: str) -> dict[str, Any]:
    """The machine, as it is kept with a result.

    Args:
        load: The load average before the run: what else the machine had to do.
        apiserver: The version of kube-apiserver.
    """
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load": load,
        "apiserver": apiserver,
        "python": platform.python_version(),
    }

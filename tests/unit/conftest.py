"""Fixtures for the tests of what is installed."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import dists

# The same examples in each run, however slow the machine is at that moment.
hypothesis.settings.register_profile("gate", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("gate")

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install("plain", ...)`` installs projects of ``tests/dists`` for this test, and tells where."""
    target = tmp_path / "site-packages"
    target.mkdir()

    def installer(*projects: str) -> Path:
        for project in projects:
            with zipfile.ZipFile(dists.wheel(project, tmp_path)) as archive:
                archive.extractall(target)
        monkeypatch.syspath_prepend(str(target))
        return target

    yield installer
    for module in [name for name in sys.modules if name.startswith("wm_")]:
        del sys.modules[module]

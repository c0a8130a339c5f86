"""The plugins that the suite is tested with, installed as pip does it, for a whole module of tests."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import dists

PROJECTS = Path(__file__).parent / "dists"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with both distributions of ``tests/contract/dists`` installed, importable during the module."""
    made = tmp_path_factory.mktemp("contract")
    target = made / "site-packages"
    for project in ("examples", "lonely"):
        with zipfile.ZipFile(dists.wheel(str(PROJECTS / project), made)) as archive:
            archive.extractall(target)
    sys.path.insert(0, str(target))
    yield target
    sys.path.remove(str(target))
    for module in [name for name in sys.modules if name.startswith("wm_")]:
        del sys.modules[module]

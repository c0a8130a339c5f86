"""What other people's tools say of the image: a linter, a list of its parts, and known vulnerabilities in them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from image.install import normal
from tests.image.checks import SITE_PACKAGES, packages
from tests.image.store import CACHE, RESULTS, ROOT, Store

PINS = Path(__file__).with_name("tools.txt")


@pytest.fixture(scope="module")
def tools(store: Store) -> Path:
    """The folder of the tools' commands; whoever has the store may write to the cache."""
    folder = CACHE / f"tools-{hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:16]}"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = ["install", "--quiet", "--no-deps", "--requirement", str(PINS)]
        subprocess.run([str(folder / "bin" / "pip"), *install], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def test_dockerfile_is_clean(tools: Path) -> None:
    linted = [str(tools / "hadolint"), str(ROOT / "image" / "Dockerfile")]
    done = subprocess.run(linted, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bill_of_materials_names_every_package(tools: Path, root: Path, tmp_path: Path) -> None:
    (site,) = root.glob(SITE_PACKAGES)
    # The tool asks an interpreter for its path, and the image's runs in the image alone.
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps([str(site)])}'\n")
    python.chmod(0o755)
    bill = RESULTS / "sbom.cdx.json"
    command = [str(tools / "cyclonedx-py"), "environment", "--output-reproducible", "-o", str(bill), str(python)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(bill.read_text())
    assert told["bomFormat"] == "CycloneDX"
    assert {normal(one["name"]): one["version"] for one in told["components"]} == packages(root)


def test_additions_have_no_known_vulnerability(
    tools: Path, root: Path, base_root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the stand-in for the base has is not looked at: it is not what the published one has now."""
    additions = {name: version for name, version in packages(root).items() if name not in packages(base_root)}
    (RESULTS / "additions.txt").write_text("".join(f"{name}=={version}\n" for name, version in additions.items()))
    command = [str(tools / "pip-audit"), "--format", "json", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run(
        [*command, "--requirement", str(RESULTS / "additions.txt")],
        env={**os.environ, "PIP_NO_INPUT": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = json.loads(done.stdout)["dependencies"] if done.stdout.startswith("{") else []
    vulnerable = {one["name"]: one["vulns"] for one in told if one.get("vulns")}
    assert not vulnerable
    looked_at = sum("vulns" in one for one in told)
    said = f"pip-audit knows of no vulnerability in {looked_at} of {len(additions)} additions."
    if not looked_at:
        said = "Left out: known vulnerabilities of the additions, as the data of pip-audit cannot be reached from here."
    with capfd.disabled():
        print(f"\n{said}")  # noqa: T201 - said aloud

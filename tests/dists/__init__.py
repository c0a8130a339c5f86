"""Plugins in folders that are projects of their own, and how a test installs one.

Always true here: a folder becomes a real wheel, made from its ``setup.cfg`` without a build backend (so it takes
milliseconds and no network), and an installed one is what pip makes of it: modules beside a ``.dist-info``.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent


def wheel(project: str, into: Path) -> Path:
    """Build the wheel of one of the projects.

    Args:
        project: The name of a folder beside this file.
        into: The folder for the wheel.
    """
    source = FOLDER / project
    config = configparser.ConfigParser()
    config.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep upper case
    config.read(source / "setup.cfg", encoding="utf-8")
    name, version = config["metadata"]["name"], config["metadata"]["version"]
    stem = f"{name.replace('-', '_')}-{version}"
    points = "\n".join(f"[{group}]{lines}\n" for group, lines in config["options.entry_points"].items())
    files = {str(path.relative_to(source)): path.read_bytes() for path in sorted(source.rglob("*.py"))}
    files[f"{stem}.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    files[f"{stem}.dist-info/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{stem}.dist-info/entry_points.txt"] = points.encode()
    record = "".join(f"{file},sha256={_digest(content)},{len(content)}\n" for file, content in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    built = into / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(built, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return built


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

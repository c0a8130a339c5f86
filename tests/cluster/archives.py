"""Images of a single program, written without a tool: archives as `docker save` writes them."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path

PAUSE = "localhost/pause:1"
COREDNS = "localhost/coredns:1"
_ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), "amd64")


def write(archive: Path, image: str, programs: Mapping[str, Path], *, starts: bool = True) -> None:
    """Write an image that has static programs, and nothing else.

    Args:
        archive: Where to; overwritten.
        image: Its name and tag.
        programs: From the path in the image's root to the file that it is.
        starts: Whether the first one is the image's entry point; otherwise it has none.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, file in programs.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, file.stat().st_size
            with file.open("rb") as program:
                tar.addfile(entry, program)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": _ARCHITECTURE,
        "os": "linux",
        "config": {"Entrypoint": [f"/{next(iter(programs))}"] if starts else [], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for name, content in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))

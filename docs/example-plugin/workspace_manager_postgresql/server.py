"""A PostgreSQL server for the contract: one for this process, on a socket in a temporary folder, with nothing kept.

Always true here: it ends with the process that started it, however that ends (Linux), and is never run by root, which
PostgreSQL refuses.
"""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SYSTEM_USER = "postgres"
START_SECONDS = 30.0


@functools.cache
def server() -> Path:
    """The folder of the server's socket, and of a file ``password`` for its superuser ``admin``."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "password").write_text(secrets.token_hex(16))
    as_user = ["setpriv", "--pdeathsig=INT"]
    if os.getuid() == 0:
        as_user += [f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--clear-groups"]
        for path in (folder, folder / "password"):
            shutil.chown(path, SYSTEM_USER, SYSTEM_USER)
    programs, data = _programs(), f"{folder}/data"
    login = ("--username=admin", f"--pwfile={folder}/password", "--auth=scram-sha-256")
    made = subprocess.run(
        [*as_user, f"{programs}/initdb", f"--pgdata={data}", *login, "--encoding=UTF8", "--no-locale", "--no-sync"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise RuntimeError(f"initdb failed: {made.stderr}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*as_user, f"{programs}/postgres", "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-F"],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    atexit.register(_stop, process)
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run([programs / "pg_isready", "-q", "-h", folder], check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.05)
    return folder


def _programs() -> Path:
    """Debian keeps the server's programs out of PATH, a folder for each version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not folders:
        raise RuntimeError("there is no PostgreSQL server on this machine; on Debian: apt-get install postgresql")
    return folders[-1]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # now, and in good order
    process.wait()

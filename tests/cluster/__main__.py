"""Tells why a whole cluster cannot run on this machine, in one line, and ends with 1; where one can, nothing."""

import sys

from tests.cluster.node import missing

if why := missing():
    sys.stdout.write(f"{why}\n")
    sys.exit(1)

"""Addresses of a cluster on this machine, none of which anybody else has."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

SLOTS = 16


@dataclass(frozen=True, slots=True)
class Network:
    """One cluster's part of 198.18.0.0/15, the range for tests of networks (RFC 2544), which no network uses.

    Attributes:
        slot: Which of the parts.
    """

    slot: int

    @property
    def interface(self) -> str:
        """This machine's end of its only connection to the cluster."""
        return f"wmcluster{self.slot}"

    @property
    def host(self) -> str:
        """The machine, as the cluster sees it."""
        return f"198.18.{8 * self.slot}.1"

    @property
    def node(self) -> str:
        """The node, which the API server shares."""
        return f"198.18.{8 * self.slot}.2"

    @property
    def pods(self) -> str:
        return f"198.18.{8 * self.slot + 1}.0/24"

    @property
    def services(self) -> str:
        return f"198.18.{8 * self.slot + 2}.0/24"

    def service(self, number: int) -> str:
        """An address among the services: 1 is the API server's, 10 the name server's."""
        return f"198.18.{8 * self.slot + 2}.{number}"


def connect(init: int) -> Network:
    """Connect this machine with the network namespace of a process, and let neither reach further.

    Both ends go with the namespace.

    Args:
        init: The process.

    Raises:
        OSError: No interface can be made here.
    """
    said = ""
    for network in map(Network, range(SLOTS)):
        made = _ip("link", "add", network.interface, "type", "veth", "peer", "name", "node0", "netns", str(init))
        if made.returncode == 0:
            break
        said = made.stderr
        if "File exists" not in said:
            raise OSError(f"no network interface can be made: {said.strip()}")
    else:
        raise OSError(f"{SLOTS} clusters run on this machine: {said.strip()}")
    inside = ("nsenter", "--target", str(init), "--net", "--")
    for where, arguments in (
        ((), f"address add {network.host}/30 dev {network.interface}"),
        ((), f"link set {network.interface} up"),
        (inside, "link set lo up"),
        (inside, f"address add {network.node}/30 dev node0"),
        (inside, "link set node0 up"),
        # What the node itself sends to a service goes out here, in name: kube-proxy turns it round before.
        (inside, f"route add {network.services} dev node0 src {network.node}"),
        ((), f"route add {network.pods} via {network.node}"),
        ((), f"route add {network.services} via {network.node}"),
    ):
        done = _ip(*arguments.split(), inside=where)
        if done.returncode:
            raise OSError(f"ip {arguments}: {done.stderr.strip()}")
    return network


def _ip(*arguments: str, inside: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*inside, "ip", *arguments], capture_output=True, text=True, check=False)

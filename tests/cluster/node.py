"""A whole Kubernetes with one node on this machine, for as long as a test run needs it.

It lives in Linux namespaces of its own (mount, network, process, IPC, host name), which one process holds. When that
ends, everything in them ends, and it ends with this process, however that ends; what is left outside of them, a folder
and empty cgroups, another process removes as soon as this one has gone. No traffic leaves the machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.apiserver.cluster import ClusterError, Object, RealCluster, certificate_of, find_programs, pem, until
from tests.cluster import archives
from tests.cluster.network import Network, connect

_ADDONS = Path(__file__).with_name("addons.yaml")
NODE = "node1"
CGROUPS = Path("/sys/fs/cgroup")
READY_SECONDS = 90.0
PROVISIONER = "workspace-managers/folder"
_DEBIAN = ("containerd", "ctr", "runc", "iptables", "ip", "nsenter", "unshare")
_CNI = Path("/usr/lib/cni")
# Version 1, as Debian's containerd and a kernel that has both want it.
_HIERARCHIES = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
# The kubelet would set these for the whole machine, unless they read as it wants them.
_READ_AS = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}

# Waits until its standard input ends, which is when the test run has, then for the processes, and removes what is left.
_SWEEP = """
import os, pathlib, shutil, subprocess, sys, time
init, interface, folder, *cgroups = sys.argv[1:]
sys.stdin.read()
while pathlib.Path(f"/proc/{init}").exists():
    time.sleep(0.02)
subprocess.run(["ip", "link", "delete", interface], stderr=subprocess.DEVNULL)
for cgroup in cgroups:
    for path, _, _ in os.walk(cgroup, topdown=False):
        for _ in range(100):
            try:
                os.rmdir(path)
                break
            except OSError:
                time.sleep(0.02)
shutil.rmtree(folder, ignore_errors=True)
"""


def missing() -> str | None:
    """Why a cluster cannot run here, in one line; None where it can."""
    if not sys.platform.startswith("linux"):
        return "it takes Linux"
    if os.geteuid() != 0:
        return "it takes root"
    if absent := [program for program in _DEBIAN if shutil.which(program) is None]:
        return f"it takes {', '.join(absent)} (Debian: containerd, runc, iptables, iproute2, util-linux)"
    if not (_CNI / "bridge").exists():
        return f"it takes the plugins of {_CNI} (Debian: containernetworking-plugins)"
    if absent := [name for name in _HIERARCHIES if not os.access(CGROUPS / name, os.W_OK)]:
        return f"it takes cgroups of version 1 that can be written, and {', '.join(absent)} cannot"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"it takes Linux namespaces: {tried.stderr.strip()}" if tried.returncode else None


class NodeCluster(RealCluster):
    """A whole cluster: ``async with NodeCluster() as cluster``.

    The API server, the node and all pods and services are reached from this machine at their own addresses, and pods
    reach this machine at `hub_host`. Nothing else is reached.

    Attributes:
        network: Its addresses.
        state: The folder of everything that it keeps; `volumes` in it has the files of claims, a folder each.
    """

    network: Network

    def __init__(self, namespace: str = "jupyterhub") -> None:
        super().__init__(namespace)
        self.state = Path()
        self._node_programs = Path()
        self._tokens = {name: secrets.token_hex(16) for name in ("node", "controllers", "scheduler", "proxy")}
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._commands: dict[str, list[str]] = {}

    async def _start(self, programs: Path, stack: AsyncExitStack) -> None:
        if why := missing():
            raise ClusterError(f"A whole cluster cannot run here: {why}.")
        self._node_programs = await find_programs("cluster")
        self.state = Path(tempfile.mkdtemp(prefix="cluster-"))
        await self._hold_namespaces(stack)
        await super()._start(programs, stack)
        await self._start_node(stack)

    # --- What holds it ---

    async def _hold_namespaces(self, stack: AsyncExitStack) -> None:
        unshare = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
        holder = await self._run(
            [_program("unshare"), *unshare, "--", str(self._node_programs / "pause")], self.state / "holder.log", stack
        )
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")

        async def begun() -> bool:
            # Until then the child is still unshare, and its /proc the machine's.
            found = children.read_text().split()
            return bool(found) and Path(f"/proc/{found[0]}/comm").read_text().strip() == "pause"

        async with asyncio.timeout(10):
            await until(begun)
        init = int(children.read_text())
        self.network = connect(init)
        self.address, self.hub_host = self.network.node, self.network.host
        cgroups = [CGROUPS / name / self._cgroup for name in _HIERARCHIES]
        for cgroup in cgroups:
            cgroup.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            (CGROUPS / "cpuset" / self._cgroup / file).write_text((CGROUPS / "cpuset" / file).read_text())
        # Made by runc where there is cgroup 2 as well.
        cgroups.append(CGROUPS / "unified" / self._cgroup)
        sweeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-ISc", _SWEEP, str(init), self.network.interface, str(self.state), *map(str, cgroups)),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

        async def sweep() -> None:
            holder.kill()  # its child goes with it, and with that one all others
            assert sweeper.stdin is not None
            sweeper.stdin.close()
            await sweeper.wait()

        stack.push_async_callback(sweep)
        self._inside = (_program("nsenter"), "--target", str(init), "--mount", "--net", "--pid", "--ipc", "--uts", "--")
        await self.run("sh", "-euc", self._mounts())

    @property
    def _cgroup(self) -> str:
        return self.state.name

    def _mounts(self) -> str:
        """Commands for what only the cluster sees: /run, what it writes to /var, and the settings of the machine."""
        state = self.state
        lines = [
            f"hostname {NODE}",
            "mount --make-rprivate /",
            f"mkdir -p {state}/var {state}/var-work {state}/run {state}/sysctl {state}/volumes",
            "mount -t tmpfs -o mode=755 run /run",
            "mkdir /run/lock",
            f"mount -t overlay overlay -o lowerdir=/var,upperdir={state}/var,workdir={state}/var-work /var",
            "mount --make-rshared /",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            "[ ! -e /proc/sys/net/bridge ] || echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables",
        ]
        for name, value in _READ_AS.items():
            copy = state / "sysctl" / name.replace("/", ".")
            lines += [f"echo {value} > {copy}", f"mount --bind {copy} /proc/sys/{name}"]
        return "\n".join(lines)

    # --- Control plane ---

    def _new_folder(self, stack: AsyncExitStack) -> Path:
        del stack
        folder = self.state / "apiserver"
        folder.mkdir()
        return folder

    def _server_flags(self, folder: Path) -> list[str]:
        return [
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={self.network.services}",
            f"--advertise-address={self.network.node}",
            f"--kubelet-client-certificate={folder / 'tls.crt'}",
            f"--kubelet-client-key={folder / 'tls.key'}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _server_names(self) -> list[x509.GeneralName]:
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        addresses = (self.network.node, self.network.service(1))
        return [
            *map(x509.DNSName, (*names, "kubernetes.default.svc.cluster.local")),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
        ]

    def _accounts(self) -> list[str]:
        tokens = self._tokens
        return [
            *super()._accounts(),
            f"{tokens['node']},system:node:{NODE},node,system:nodes",
            f"{tokens['controllers']},system:kube-controller-manager,controllers",
            f"{tokens['scheduler']},system:kube-scheduler,scheduler",
            f"{tokens['proxy']},system:kube-proxy,proxy",
        ]

    # --- The node ---

    async def _start_node(self, stack: AsyncExitStack) -> None:
        state, programs = self.state, self._node_programs
        self._write_configuration()
        controllers = [
            f"--kubeconfig={state / 'controllers.json'}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={state / 'apiserver' / 'accounts.key'}",
            f"--root-ca-file={state / 'apiserver' / 'tls.crt'}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
        kubelet = [
            f"--config={state / 'kubelet.json'}",
            f"--kubeconfig={state / 'node.json'}",
            f"--root-dir={state / 'kubelet'}",
            f"--cert-dir={state / 'kubelet' / 'pki'}",
            f"--hostname-override={NODE}",
            f"--node-ip={self.network.node}",
        ]
        self._commands = {
            "containerd": ["containerd", "--config", str(state / "containerd.toml")],
            "kube-controller-manager": [str(programs / "kube-controller-manager"), *controllers],
            "kube-scheduler": [
                str(programs / "kube-scheduler"),
                f"--config={state / 'kube-scheduler.json'}",
                "--secure-port=0",
            ],
            "kubelet": [str(programs / "kubelet"), *kubelet],
            "kube-proxy": [str(programs / "kube-proxy"), f"--config={state / 'kube-proxy.json'}"],
            "provisioner": [
                str(programs / "provisioner"),
                f"--kubeconfig={state / 'administrator.json'}",
                f"--folder={state / 'volumes'}",
                f"--name={PROVISIONER}",
            ],
        }
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._run_one("containerd", stack)
                for name in ("kube-controller-manager", "kube-scheduler", "provisioner"):
                    await self._run_one(name, stack)
                await self._until(self._containerd_answers)
                for name, image in (("pause", archives.PAUSE), ("coredns", archives.COREDNS)):
                    archive = state / f"{name}.tar"
                    archives.write(archive, image, {name: programs / name})
                    await self.import_image(archive)
                    archive.unlink()
                await self._run_one("kubelet", stack)
                await self._run_one("kube-proxy", stack)
                await self._until(self._node_is_ready)
                for document in yaml.safe_load_all(_ADDONS.read_text().replace("@dns@", self.network.service(10))):
                    await self.apply(document)
                await self._until(self._names_are_answered)
        except TimeoutError:
            raise ClusterError(f"The cluster is not ready after {READY_SECONDS:.0f} s:\n{self._last_words()}") from None

    def _write_configuration(self) -> None:
        state, network = self.state, self.network
        for name, token in (*self._tokens.items(), ("administrator", self.token)):
            (state / f"{name}.json").write_text(json.dumps(self.kubeconfig("default", token)))
        key = ec.generate_private_key(ec.SECP256R1())
        (state / "node.crt").write_bytes(certificate_of(key, [x509.DNSName(NODE)]))
        (state / "node.key").write_bytes(pem(key))
        (state / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (state / "containerd.toml").write_text(_CONTAINERD.format(state=state, pause=archives.PAUSE, cni=_CNI))
        (state / "cni").mkdir()
        ranges = [[{"subnet": network.pods}]]
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "isDefaultGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "dataDir": str(state / "run" / "cni"), "ranges": ranges},
        }
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        chain = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}
        (state / "cni" / "10-pods.conflist").write_text(json.dumps(chain))
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.node,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(state / "apiserver" / "tls.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},  # to whoever has shown who it is
            "tlsCertFile": str(state / "node.crt"),
            "tlsPrivateKeyFile": str(state / "node.key"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{state}/run/containerd.sock",
            "podLogsDir": str(state / "pod-logs"),
            "volumePluginDir": str(state / "volume-plugins"),
            "resolvConf": str(state / "resolv.conf"),
            "clusterDNS": [network.service(10)],
            "clusterDomain": "cluster.local",
            "seccompDefault": True,
            "maxPods": 50,
            # A full disk of this machine is nothing that a test is about.
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "2s",
        }
        (state / "kubelet.json").write_text(json.dumps(kubelet))
        scheduler = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": str(state / "scheduler.json")},
            "leaderElection": {"leaderElect": False},
            # The Helm chart runs one more of this program, under the second name.
            "profiles": [{"schedulerName": name} for name in ("default-scheduler", "user-scheduler")],
        }
        (state / "kube-scheduler.json").write_text(json.dumps(scheduler))
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(state / "proxy.json")},
            "mode": "iptables",
            "clusterCIDR": network.pods,
            "hostnameOverride": NODE,
            # Zero: it leaves the machine's own settings of connection tracking alone.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        (state / "kube-proxy.json").write_text(json.dumps(proxy))

    async def _run_one(self, name: str, stack: AsyncExitStack) -> None:
        self._running[name] = await self._run(self._commands[name], self.state / f"{name}.log", stack)

    async def _until(self, check: Callable[[], Awaitable[bool]]) -> None:
        async def or_over() -> bool:
            if over := [name for name, process in self._running.items() if process.returncode is not None]:
                raise ClusterError(f"{', '.join(over)} ended:\n{self._last_words()}")
            return await check()

        await until(or_over)

    async def _containerd_answers(self) -> bool:
        return (await self._ctr("version")).returncode == 0

    async def _node_is_ready(self) -> bool:
        nodes = (await self.call("GET", "/api/v1/nodes"))["items"]
        conditions = [condition for node in nodes for condition in node["status"].get("conditions", [])]
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    async def _names_are_answered(self) -> bool:
        deployment = await self.call("GET", "/apis/apps/v1/namespaces/kube-system/deployments/coredns")
        return bool(deployment["status"].get("readyReplicas"))

    def _last_words(self) -> str:
        logs = sorted(self.state.glob("**/*.log"))
        return "\n".join(
            f"{log.name}:\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-4:]) for log in logs
        )

    # --- What tests do with it ---

    async def run(self, *command: str) -> str:
        """Run a command inside, as the node's root; what it printed.

        Raises:
            ClusterError: It failed.
        """
        done = await self._command_inside(*command)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)[:200]}: {done.stderr.strip()}")
        return done.stdout

    async def import_image(self, archive: Path, *names: str) -> None:
        """Give the node an image of an archive in Docker's format, under the name that it has there, and others."""
        images = ("--namespace", "k8s.io", "images")
        steps: list[tuple[str, ...]] = [(*images, "import", "--digests=false", str(archive))]
        if names:
            with tarfile.open(archive) as tar:
                manifest = tar.extractfile("manifest.json")
                assert manifest is not None
                (named,) = json.load(manifest)[0]["RepoTags"]
            steps.append((*images, "tag", named, *names))
        for step in steps:
            done = await self._ctr(*step)
            if done.returncode:
                raise ClusterError(f"the image {archive.name} was not imported: {done.stderr.strip()}")

    async def apply(self, document: Object) -> Any:
        """Make an object; one without a namespace of its own is made in the cluster's."""
        group, kind = document["apiVersion"], document["kind"]
        plural = kind.lower().removesuffix("y") + {"s": "es", "y": "ies"}.get(kind[-1], "s")
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        if kind not in _OF_NO_NAMESPACE:
            root += f"/namespaces/{document['metadata'].get('namespace', self.namespace)}"
        return await self.call("POST", f"{root}/{plural}", document)

    async def kill(self, program: str) -> None:
        """Kill a program of the node or its control plane, such as ``kubelet``."""
        process = self._running.pop(program)
        os.killpg(process.pid, 9)
        await process.wait()

    async def start(self, program: str) -> None:
        """Start a program again that was killed."""
        await self._run_one(program, self._stack)

    async def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await self._command_inside("ctr", "--address", str(self.state / "run" / "containerd.sock"), *arguments)

    async def _command_inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, [*self._inside, *command], capture_output=True, text=True, check=False
        )


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, name
    return found


_OF_NO_NAMESPACE = {"ClusterRole", "ClusterRoleBinding", "StorageClass", "Namespace", "PersistentVolume", "Node"}

_CONTAINERD = """\
version = 2
root = "{state}/containerd"
state = "{state}/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{state}/run/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true  # lowering a score takes CAP_SYS_RESOURCE, which root of a container may lack
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""

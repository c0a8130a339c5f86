"""The real kube-apiserver, alone with its etcd, for as long as a test run needs it; or a cluster that is given.

Always true of our own: both listen on loopback addresses only, keep everything in one temporary folder that goes with
them, and end with this process, however it ends (Linux). RBAC is on and tokens are checked. There is no controller
manager, no scheduler and no node: what those do, a test does through the API.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import json
import os
import secrets
import signal
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from kubernetes_asyncio import client, config

from workspace_managers.devcluster.demo import free_ports
from workspace_managers.devcluster.guest import furnish
from workspace_managers.errors import BackendUnavailable
from workspace_managers.kube.client import Kube

BUILD = Path(__file__).parents[1] / "programs" / "build"
CHART = Path(__file__).with_name("chart.yaml")
RBAC = Path(__file__).parents[2] / "image" / "rbac.yaml"
HOST = "127.0.0.1"
START_SECONDS = 60.0
_TRIES = 3
_ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/"
_COLLECTIONS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": f"{_ROLES}roles",
    "RoleBinding": f"{_ROLES}rolebindings",
}
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    # One line for each request, when it is answered; for a watch, one when it begins and one when it ends.
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}

# Runs in the new process before the command: 1 is PR_SET_PDEATHSIG, which stays on over exec. With SIGKILL, as on
# SIGTERM the server waits for an etcd that has gone at the same time.
_LAUNCH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

Object = dict[str, Any]


class ClusterError(Exception):
    """The API server cannot be had; the message says why and what to do."""


class Refused(Exception):
    """The API server answered a request of `RealCluster` itself with an error.

    Attributes:
        status: HTTP status.
        answer: The body.
    """

    def __init__(self, request: str, status: int, answer: object) -> None:
        super().__init__(f"{request}: {status} {answer}")
        self.status = status
        self.answer = answer


async def find_programs(what: str = "apiserver") -> Path:
    """The folder of Kubernetes' programs, as the script `build` finds it; nothing is built.

    Args:
        what: `apiserver`, which is etcd too, or `cluster`, which is what a cluster needs beside those two.

    Raises:
        ClusterError: They are not there; the message is the script's one sentence.
    """
    found = await asyncio.create_subprocess_exec(
        str(BUILD), "--find", what, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, said = await found.communicate()
    if found.returncode:
        raise ClusterError(said.decode().strip())
    return Path(output.decode().splitlines()[-1])


class Cluster:
    """An API server that the tests may do anything on, and the one namespace there that is theirs.

    Attributes:
        namespace: It, made when the context starts; `kubeconfig` and `service_account_token` take it by default.
        url: Where the server is, from the start of the context on.
        hub_host: The address of this machine for the cluster's pods; empty where it runs none.
    """

    hub_host = ""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.url = ""
        # As in a kubeconfig.
        self._server: Object = {}
        self._administrator: Object = {}
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession | None = None
        self._own_http: aiohttp.ClientSession | None = None

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def kubeconfig(self, namespace: str | None = None, token: str | None = None) -> Object:
        """A kubeconfig, for `kubectl` (written to a file as JSON) and for the Python clients.

        Args:
            namespace: Its default namespace; None is the one of the cluster.
            token: Whose requests they are; None is the administrator's.
        """
        name = "real"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": self._server}],
            "users": [{"name": name, "user": {"token": token} if token else self._administrator}],
            "contexts": [
                {
                    "name": name,
                    "context": {"cluster": name, "user": name, "namespace": namespace or self.namespace},
                }
            ],
            "current-context": name,
        }

    def tls(self) -> ssl.SSLContext:
        """What a client needs to trust this server, and no other."""
        authority = self._server.get("certificate-authority-data")
        return ssl.create_default_context(cadata=base64.b64decode(authority).decode() if authority else None)

    async def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """Send one JSON request, as the administrator unless another token is given; its answer, parsed.

        A ``PATCH`` is a merge patch.

        Raises:
            Refused: The answer is an error.
        """
        http = self._http if token else self._own_http
        assert http is not None, "the cluster is not running"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        async with http.request(method, self.url + path, json=body, headers=headers) as answer:
            read = await answer.json()
            if answer.status >= 400:
                raise Refused(f"{method} {path}", answer.status, read)
            return read

    async def service_account_token(
        self, name: str, rules: Sequence[Mapping[str, Any]], *, namespace: str | None = None
    ) -> str:
        """Make a service account that may do what a role's rules say, and nothing else.

        Args:
            name: Of the account, its role and its role binding.
            rules: As in a `Role`.
            namespace: Where all three are made; None is the one of the cluster.

        Returns:
            A token of it, as TokenRequest gives one to a pod: good for an hour.
        """
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        documents: list[Object] = [
            {"kind": "ServiceAccount"},
            {"kind": "Role", "rules": list(rules)},
            {"kind": "RoleBinding", "roleRef": role, "subjects": [{"kind": "ServiceAccount", "name": name}]},
        ]
        return await self.account_token(name, [{**one, "metadata": {"name": name}} for one in documents], namespace)

    async def hub_token(self, namespace: str | None = None) -> str:
        """Make the hub's service account, with the role that the chart gives it and `image/rbac.yaml`; its token."""
        return await self.account_token("hub", [*documents_of(CHART), *documents_of(RBAC)], namespace)

    async def account_token(self, name: str, documents: Sequence[Object], namespace: str | None = None) -> str:
        """Make a service account and its roles from their documents, and wait until they hold; a token of it."""
        namespace = namespace or self.namespace
        for document in documents:
            await self.call("POST", _COLLECTIONS[document["kind"]].format(namespace), document)
        path = f"{_COLLECTIONS['ServiceAccount'].format(namespace)}/{name}/token"
        issued = await self.call("POST", path, {"spec": {"expirationSeconds": 3600}})
        token = str(issued["status"]["token"])
        for document in documents:
            for rule in document.get("rules", [])[:1]:
                await self._granted(f"system:serviceaccount:{namespace}:{name}", namespace, rule)
        return token

    async def _granted(self, user: str, namespace: str, rule: Mapping[str, Any]) -> None:
        """Wait until the server's authorizer has seen a new role and its binding, which takes it some milliseconds."""
        resource, _, subresource = rule["resources"][0].partition("/")
        attributes = {"namespace": namespace, "verb": rule["verbs"][0], "group": rule["apiGroups"][0]}
        attributes |= {
            "resource": resource,
            "subresource": subresource,
            "name": (*rule.get("resourceNames", []), "")[0],
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        body = {"spec": {"user": user, "resourceAttributes": attributes}}

        async def allowed() -> bool:
            return bool((await self.call("POST", path, body))["status"]["allowed"])

        async with asyncio.timeout(10):
            await until(allowed)

    async def _open(self, stack: AsyncExitStack, tls: ssl.SSLContext, headers: Mapping[str, str]) -> None:
        """Open both clients: one for any token, and the administrator's own, which may have a certificate."""
        for own in (False, True):
            connector = aiohttp.TCPConnector(ssl=tls if own else self.tls())
            client = aiohttp.ClientSession(connector=connector, headers=headers if own else None)
            await stack.enter_async_context(client)
            if own:
                self._own_http = client
            else:
                self._http = client

    async def _furnish(self) -> None:
        """Make the namespace, as one that a demo may use, and the custom resources that the hub knows."""
        kube = Kube(self.namespace, self.kubeconfig())
        try:
            await furnish(kube, namespace_exists=False)
        finally:
            await kube.close()


class RealCluster(Cluster):
    """A kube-apiserver and its etcd: ``async with RealCluster() as cluster``.

    Args:
        namespace: The namespace of the tests.
        programs: The folder of both programs; None asks the script `build`.
        flags: Further flags of kube-apiserver.

    Attributes:
        audit_log: The server's audit log: one JSON object per line and request, at level `Metadata`.
        token: A token that may do everything.
        pids: Process ids of etcd and kube-apiserver.
        etcd_url: Where etcd is.
    """

    address = HOST
    """Where kube-apiserver listens."""

    def __init__(
        self, namespace: str = "jupyterhub", *, programs: Path | None = None, flags: Sequence[str] = ()
    ) -> None:
        super().__init__(namespace)
        self.audit_log = Path()
        self.token = secrets.token_hex(16)
        self.pids: list[int] = []
        self.etcd_url = ""
        self._programs = programs
        self._inside: tuple[str, ...] = ()
        self._flags = flags
        self._command: list[str] = []
        self._log = Path()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        programs = self._programs or await find_programs()
        for left in reversed(range(_TRIES)):
            async with AsyncExitStack() as stack:
                try:
                    await self._start(programs, stack)
                except ClusterError as error:
                    # Somebody else may take a port between our looking for it and the server's listening on it.
                    if not left or "address already in use" not in str(error):
                        raise
                    continue
                self._stack = stack.pop_all()
                break
        return self

    async def compact(self) -> None:
        """Forget the history up to now in etcd, as the server itself has it done every five minutes.

        A list at an older resourceVersion, and a list's next page, get 410 where the server's own cache does not go
        back that far.
        """
        assert self._http is not None, "the cluster is not running"
        listed = await self.call("GET", "/api/v1/namespaces?limit=1")
        body = {"revision": listed["metadata"]["resourceVersion"], "physical": True}
        async with self._http.post(f"{self.etcd_url}/v3/kv/compaction", json=body) as answer:
            if "has been compacted" not in await answer.text():  # else nothing was written since the last time
                answer.raise_for_status()

    # --- Life ---

    async def _start(self, programs: Path, stack: AsyncExitStack) -> None:
        folder = self._new_folder(stack)
        self.audit_log = folder / "audit.log"
        self.pids = []
        etcd_port, port = free_ports(2)
        self.etcd_url, self.url = f"http://{HOST}:{etcd_port}", f"https://{self.address}:{port}"
        certificate = self._write_files(folder)
        self._server = {"server": self.url, "certificate-authority-data": _encoded(certificate)}
        self._administrator = {"token": self.token}
        await self._open(stack, self.tls(), {"Authorization": f"Bearer {self.token}"})
        etcd = [
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls=http://{HOST}:0",  # it is the only member, so nobody needs to find it
            "--unsafe-no-fsync",  # nothing here outlives a crash
            "--log-level=warn",
        ]
        processes = [await self._run([str(programs / "etcd"), *etcd], folder / "etcd.log", stack)]
        server = [
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={self.address}",
            f"--secure-port={port}",
            f"--tls-cert-file={folder / 'tls.crt'}",
            f"--tls-private-key-file={folder / 'tls.key'}",
            "--allow-privileged=true",  # as the chart's init container is
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
            f"--service-account-key-file={folder / 'accounts.key'}",
            f"--audit-policy-file={folder / 'audit.json'}",
            f"--audit-log-path={self.audit_log}",
        ]
        self._command = [str(programs / "kube-apiserver"), *server, *self._server_flags(folder), *self._flags]
        self._log = log = folder / "kube-apiserver.log"
        self._process = await self._run(self._command, log, stack)
        processes.append(self._process)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._is_ready():
                    if any(process.returncode is not None for process in processes):
                        logs = (log, folder / "etcd.log")
                        raise ClusterError("\n".join(["kube-apiserver does not start:", *map(_last_lines, logs)]))
                    await asyncio.sleep(0.05)
                await self._furnish()
        except TimeoutError:
            message = f"kube-apiserver is not ready after {START_SECONDS:.0f} seconds:\n{_last_lines(log)}"
            raise ClusterError(message) from None

    def _new_folder(self, stack: AsyncExitStack) -> Path:
        """Where everything is that both programs write; it goes with the stack."""
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="apiserver-")))

    def _server_flags(self, folder: Path) -> list[str]:
        """Those of kube-apiserver that are about what runs beside it: here nothing, in a whole cluster all."""
        del folder
        return [
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            # For want of a controller manager: the first would refuse every pod, as nobody makes the account `default`
            # of a new namespace; of what the second adds to claims nobody would take off the finalizer again.
            "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection",
        ]

    def _server_names(self) -> list[x509.GeneralName]:
        """What the server's certificate holds for."""
        return [x509.IPAddress(ipaddress.ip_address(self.address))]

    def _accounts(self) -> list[str]:
        """Who may sign in with a token that is known beforehand, as lines of `--token-auth-file`."""
        return [f"{self.token},administrator,administrator,system:masters"]

    def _write_files(self, folder: Path) -> bytes:
        """Write what the server reads; returns its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = certificate_of(key, self._server_names())
        files = {
            "tls.crt": certificate,
            "tls.key": pem(key),
            "accounts.key": pem(ec.generate_private_key(ec.SECP256R1())),
            "tokens.csv": "".join(f"{line}\n" for line in self._accounts()).encode(),
            "audit.json": json.dumps(_AUDIT_POLICY).encode(),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return certificate

    async def _run(self, command: list[str], log: Path, stack: AsyncExitStack) -> asyncio.subprocess.Process:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-ISc", _LAUNCH, str(os.getpid()), *self._inside, *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # an interrupt from the keyboard is for the test run, which then ends these
            )
        self.pids.append(process.pid)
        stack.push_async_callback(_kill, process)
        return process

    async def _is_ready(self) -> bool:
        assert self._http is not None
        with suppress(aiohttp.ClientError):
            async with self._http.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        return False

    async def restart(self) -> None:
        """Kill kube-apiserver and start it again, on the same port and the same etcd; returns once it is ready."""
        assert self._process is not None, "the cluster is not running"
        await _kill(self._process)

        async def ready() -> bool:
            assert self._process is not None
            if self._process.returncode is not None:  # once more where a connection has its port for a moment
                self.pids.remove(self._process.pid)
                self._process = await self._run(self._command, self._log, self._stack)
            return await self._is_ready()

        async with asyncio.timeout(START_SECONDS):
            await until(ready)


class GivenCluster(Cluster):
    """A cluster that somebody gives for the tests to do anything on: ``async with GivenCluster(path) as cluster``.

    Its namespace is deleted in the end, with all that is in it; the definitions of custom resources stay.

    Args:
        kubeconfig: Of an administrator.
    """

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(f"workspace-managers-{secrets.token_hex(4)}")
        self._path = kubeconfig

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            settings = client.Configuration()
            try:
                await config.load_kube_config(config_file=str(self._path), client_configuration=settings)
            except Exception as error:
                raise ClusterError(f"{self._path} is not a kubeconfig that can be used: {error!r}") from error
            self._read(settings)
            tls = self.tls()
            if settings.cert_file:
                tls.load_cert_chain(settings.cert_file, settings.key_file)
            bearer = settings.api_key.get("BearerToken")
            await self._open(stack, tls, {"Authorization": bearer} if bearer else {})
            try:
                await self._furnish()
            except (BackendUnavailable, TimeoutError) as error:
                raise ClusterError(f"The cluster of {self._path} cannot be used: {error}") from error
            stack.push_async_callback(self.call, "DELETE", f"/api/v1/namespaces/{self.namespace}")
            self._stack = stack.pop_all()
        return self

    def _read(self, settings: Any) -> None:
        """Take over what is needed, in a form that holds wherever a kubeconfig is written to."""
        self.url = settings.host
        self._server = {"server": settings.host}
        if settings.ssl_ca_cert:
            self._server["certificate-authority-data"] = _encoded(Path(settings.ssl_ca_cert).read_bytes())
        if bearer := settings.api_key.get("BearerToken"):
            self._administrator["token"] = bearer.removeprefix("Bearer ")
        if settings.cert_file:
            self._administrator["client-certificate-data"] = _encoded(Path(settings.cert_file).read_bytes())
            self._administrator["client-key-data"] = _encoded(Path(settings.key_file).read_bytes())


def cluster_given() -> GivenCluster | None:
    """The cluster that `TEST_KUBECONFIG` gives, if it is set.

    Not `KUBECONFIG`, which names whatever cluster its developer works on.
    """
    given = os.environ.get("TEST_KUBECONFIG")
    return GivenCluster(Path(given)) if given else None


def cluster_of_tests() -> RealCluster | GivenCluster:
    """The cluster that is given, else a kube-apiserver of our own."""
    return cluster_given() or RealCluster()


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; the caller sets the limit."""
    while True:
        if await check():
            return
        await asyncio.sleep(0.03)


async def _kill(process: asyncio.subprocess.Process) -> None:
    # There is nothing to save, so there is nothing to wait for either.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def documents_of(file: Path) -> list[Object]:
    """What a YAML file has."""
    return list(yaml.safe_load_all(file.read_text()))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # "EC PRIVATE KEY": the one form in which the server reads the key of service accounts too.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def certificate_of(key: ec.EllipticCurvePrivateKey, names: Sequence[x509.GeneralName]) -> bytes:
    """A certificate for these names, its own authority, good for a week."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver of a test")])
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "crl_sign"), False)
    usage |= {"encipher_only": False, "decipher_only": False, "key_encipherment": False}
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ]
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=7))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

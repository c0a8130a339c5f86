"""The real kube-apiserver, alone with its etcd, for as long as a test run needs it.

Always true here: both listen on loopback addresses only, keep everything in one temporary folder that goes with them,
and end with this process, however it ends (Linux). RBAC is on and tokens are checked. There is no controller
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
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workspace_managers.devcluster.demo import free_ports
from workspace_managers.devcluster.store import definitions

BUILD = Path(__file__).with_name("build")
HOST = "127.0.0.1"
START_SECONDS = 60.0
_TRIES = 3
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


async def find_programs() -> Path:
    """The folder of kube-apiserver and etcd, as the script `build` finds it; nothing is built.

    Raises:
        ClusterError: They are not there; the message is the script's one sentence.
    """
    found = await asyncio.create_subprocess_exec(
        str(BUILD), "--find", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, said = await found.communicate()
    if found.returncode:
        raise ClusterError(said.decode().strip())
    return Path(output.decode().splitlines()[-1])


class RealCluster:
    """A kube-apiserver and its etcd: ``async with RealCluster() as cluster``.

    Args:
        namespace: The namespace that is created, and that `kubeconfig` and `service_account_token` take by default.
        programs: The folder of both programs; None asks the script `build`.

    Attributes:
        url: Where the server is, from the start of the context on, as are the other attributes.
        audit_log: The server's audit log: one JSON object per line and request, at level `Metadata`.
        token: A token that may do everything.
        pids: Process ids of etcd and kube-apiserver.
    """

    def __init__(self, namespace: str = "jupyterhub", *, programs: Path | None = None) -> None:
        self.namespace = namespace
        self.url = ""
        self.audit_log = Path()
        self.token = secrets.token_hex(16)
        self.pids: list[int] = []
        self._programs = programs
        self._etcd_url = ""
        self._certificate = b""
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession | None = None

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

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def kubeconfig(self, namespace: str | None = None, token: str | None = None) -> Object:
        """A kubeconfig, for `kubectl` (written to a file as JSON) and for the Python clients.

        Args:
            namespace: Its default namespace; None is the one of the cluster.
            token: Whose requests they are; None is the administrator's.
        """
        name = "real"
        authority = base64.b64encode(self._certificate).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"token": token or self.token}}],
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
        return ssl.create_default_context(cadata=self._certificate.decode())

    async def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """Send one JSON request, as the administrator unless another token is given; its answer, parsed.

        Raises:
            Refused: The answer is an error.
        """
        assert self._http is not None, "the cluster is not running"
        authorization = {"Authorization": f"Bearer {token or self.token}"}
        async with self._http.request(method, self.url + path, json=body, headers=authorization) as answer:
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
        namespace = namespace or self.namespace
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        metadata = {"name": name}
        await self.call("POST", accounts, {"metadata": metadata})
        await self.call("POST", f"{rbac}/roles", {"metadata": metadata, "rules": list(rules)})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        body: Object = {"metadata": metadata, "roleRef": role, "subjects": [subject]}
        await self.call("POST", f"{rbac}/rolebindings", body)
        request = {"spec": {"expirationSeconds": 3600}}
        issued = await self.call("POST", f"{accounts}/{name}/token", request)
        token = str(issued["status"]["token"])
        if rules:
            await self._granted(token, namespace, rules[0])
        return token

    async def compact(self) -> None:
        """Forget the history up to now in etcd, as the server itself has it done every five minutes.

        A list at an older resourceVersion, and a list's next page, get 410 where the server's own cache does not go
        back that far.
        """
        assert self._http is not None, "the cluster is not running"
        listed = await self.call("GET", "/api/v1/namespaces?limit=1")
        body = {"revision": listed["metadata"]["resourceVersion"], "physical": True}
        async with self._http.post(f"{self._etcd_url}/v3/kv/compaction", json=body) as answer:
            if "has been compacted" not in await answer.text():  # else nothing was written since the last time
                answer.raise_for_status()

    async def _granted(self, token: str, namespace: str, rule: Mapping[str, Any]) -> None:
        """Wait until the server's authorizer has seen a new role and its binding, which takes it some milliseconds."""
        resource, _, subresource = rule["resources"][0].partition("/")
        attributes = {"namespace": namespace, "verb": rule["verbs"][0], "group": rule["apiGroups"][0]}
        attributes |= {
            "resource": resource,
            "subresource": subresource,
            "name": (*rule.get("resourceNames", []), "")[0],
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        body = {"spec": {"resourceAttributes": attributes}}

        async def allowed() -> bool:
            return bool((await self.call("POST", path, body, token=token))["status"]["allowed"])

        async with asyncio.timeout(10):
            await until(allowed)

    # --- Life ---

    async def _start(self, programs: Path, stack: AsyncExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="apiserver-")))
        self.audit_log = folder / "audit.log"
        self._write_files(folder)
        self.pids = []
        etcd_port, port = free_ports(2)
        self._etcd_url, self.url = f"http://{HOST}:{etcd_port}", f"https://{HOST}:{port}"
        trusted = aiohttp.TCPConnector(ssl=self.tls())
        self._http = await stack.enter_async_context(aiohttp.ClientSession(connector=trusted))
        etcd = [
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls=http://{HOST}:0",  # it is the only member, so nobody needs to find it
            "--unsafe-no-fsync",  # nothing here outlives a crash
            "--log-level=warn",
        ]
        processes = [await self._run([str(programs / "etcd"), *etcd], folder / "etcd.log", stack)]
        server = [
            f"--etcd-servers={self._etcd_url}",
            f"--bind-address={HOST}",
            f"--secure-port={port}",
            f"--tls-cert-file={folder / 'tls.crt'}",
            f"--tls-private-key-file={folder / 'tls.key'}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
            f"--service-account-key-file={folder / 'accounts.key'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            # For want of a controller manager: the first would refuse every pod, as nobody makes the account `default`
            # of a new namespace; of what the second adds to claims nobody would take off the finalizer again.
            "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection",
            f"--audit-policy-file={folder / 'audit.json'}",
            f"--audit-log-path={self.audit_log}",
        ]
        log = folder / "kube-apiserver.log"
        processes.append(await self._run([str(programs / "kube-apiserver"), *server], log, stack))
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

    def _write_files(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(key)
        files = {
            "tls.crt": self._certificate,
            "tls.key": _pem(key),
            "accounts.key": _pem(ec.generate_private_key(ec.SECP256R1())),
            "tokens.csv": f"{self.token},administrator,administrator,system:masters\n".encode(),
            "audit.json": json.dumps(_AUDIT_POLICY).encode(),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)

    async def _run(self, command: list[str], log: Path, stack: AsyncExitStack) -> asyncio.subprocess.Process:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-ISc", _LAUNCH, str(os.getpid()), *command),
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

    async def _furnish(self) -> None:
        """Create the namespace and the custom resources that the hub knows."""
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in definitions():
            await self.call("POST", crds, definition)
        for definition in definitions():
            await until(partial(self._is_established, f"{crds}/{definition['metadata']['name']}"))
            spec = definition["spec"]
            path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            await until(partial(self._is_listed, path))

    async def _is_established(self, path: str) -> bool:
        conditions = (await self.call("GET", path)).get("status", {}).get("conditions") or []
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    async def _is_listed(self, path: str) -> bool:
        """Whether a new type is served: once it is established, the answer is 404 and then 429 for a moment more."""
        try:
            await self.call("GET", path)
        except Refused as error:
            if error.status not in (404, 429):
                raise
            return False
        return True


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; the caller sets the limit."""
    while True:
        if await check():
            return
        await asyncio.sleep(0.03)


async def _kill(process: asyncio.subprocess.Process) -> None:
    # There is nothing to save, so there is nothing to wait for either.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # "EC PRIVATE KEY": the one form in which the server reads the key of service accounts too.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A server's certificate for the loopback address, its own authority, good for a week."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver of a test")])
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "crl_sign"), False)
    usage |= {"encipher_only": False, "decipher_only": False, "key_encipherment": False}
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ]
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=7))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

"""A research platform for the contract: what the plugin asks, on a real socket over TLS, with nothing kept.

It finds people as a careless database does, whatever the case and the accents, so that the plugin's own comparison is
what tells them apart.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import json
import re
import secrets
import ssl
import tempfile
import unicodedata
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
HOST = "127.0.0.1"
_PATH = re.compile(r"/api/people/([^/]*)/projects")


class Platform:
    """What an administrator of the platform can change of it.

    Attributes:
        projects: By workspace, what is answered of a project, with the one profile of this workspace or with all.
        members: Person, workspace and last day of each grant, whether there is such a workspace or not.
        tokens: The tokens that are taken.
        handler: What answers instead, where something is wrong.
        asked: The path of each request, as it came.
        sent: The headers of each request.
        folder: Has the files ``ca.pem`` and ``token``.
    """

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, Any]] = {}
        self.members: list[tuple[str, str, str]] = []
        self.tokens = {secrets.token_urlsafe(32)}
        self.handler: Handler | None = None
        self.asked: list[str] = []
        self.sent: list[dict[str, str]] = []
        self.url = ""
        self._folder = tempfile.TemporaryDirectory(prefix="projects-")
        self.folder = Path(self._folder.name)
        self._runner: web.ServerRunner | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, with the certificate that the plugin expects or another one."""
        (self.folder / "ca.pem").write_bytes(authority().certificate)
        (self.folder / "token").write_text(f"{min(self.tokens)}\n")
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0, ssl_context=tls or authority().server(HOST, "localhost")).start()
        self.url = "https://{}:{}/api".format(*self._runner.addresses[0])

    async def stop(self) -> None:
        """End every connection and remove the files."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._folder.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        self.sent.append(dict(request.headers))
        return await (self.handler or self.answer)(request)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The projects of a person, or that there is no such person."""
        if request.headers.get("Authorization") not in {f"Bearer {token}" for token in self.tokens}:
            return web.Response(status=401)
        found = _PATH.fullmatch(request.raw_path)
        if found is None:
            return web.Response(status=404, text="no such page")
        username = unquote(found[1], errors="surrogatepass")
        mine = [member for member in self.members if _folded(member[0]) == _folded(username)]
        if not mine:
            return answered({"unknown": username}, status=404)
        known = [member for member in mine if member[1] in self.projects]
        return answered([{**self.projects[name], "person": person, "until": until} for person, name, until in known])


def answered(content: object, status: int = 200) -> web.Response:
    """An answer with JSON in it."""
    return web.Response(status=status, text=json.dumps(content), content_type="application/json")


def _folded(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip().casefold()


class Authority:
    """Signs certificates of servers; its own is ``certificate``, as PEM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA of a test")])
        signs = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        is_authority = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = self._signed(self._name, self._key.public_key(), 7, (is_authority, True), (signs, True))

    def server(self, address: str, *names: str, days: int = 7) -> ssl.SSLContext:
        """What a server needs to be this host.

        Args:
            address: Its IP address.
            names: Its names.
            days: For how long that is good from now on; below zero, it has ended.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(address)), *map(x509.DNSName, names)]
        )
        certificate = self._signed(x509.Name([]), key.public_key(), days, (alternative, True))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:  # the one way in which Python takes them
            file.write(certificate + secret)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, days: int, *extensions: tuple[x509.ExtensionType, bool]
    ) -> bytes:
        now, own = datetime.datetime.now(datetime.UTC), self._key.public_key()
        builder = x509.CertificateBuilder(self._name, name, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=30))
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@functools.cache
def authority() -> Authority:
    """The one that the plugin is to trust, the same in this process."""
    return Authority()

"""How the page is listened on: over TLS with a certificate, and who else reaches it."""

from __future__ import annotations

import contextlib
import datetime
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from assistant import cli
from assistant.app import App
from tests.ui.fake_app import FakeApp
from ui.web import ServeError, only_here, serve

SCRIPT = """
import sys
from pathlib import Path
from tests.ui.fake_app import FakeApp
from ui.web import serve
app = FakeApp()
app.settings.port = int(sys.argv[1])
serve(app, print, Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(today).not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


def test_with_a_certificate_the_page_is_https_and_its_cookie_stays_there(certificate: tuple[Path, Path]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SCRIPT, str(port), *map(str, certificate)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(cli.__file__).parents[1])
    context = ssl.create_default_context(cafile=certificate[0])
    try:
        with httpx.Client(base_url=f"https://localhost:{port}", verify=context) as client:
            _wait_until_alive(client, server)
            answer = client.post("/login", data={"username": "ana", "password": "ana-password"})
            assert "secure" in answer.headers["set-cookie"].lower()
            assert client.get("/").status_code == 200
        server.send_signal(signal.SIGINT)
        said, _ = server.communicate(timeout=30)
    finally:
        server.kill()
    assert said.splitlines()[-1] == f"https://127.0.0.1:{port}"


def _wait_until_alive(client: httpx.Client, server: subprocess.Popen[str]) -> None:
    for _ in range(480):
        with contextlib.suppress(httpx.TransportError):
            if client.get("/healthz").status_code == 200:
                return
        assert server.poll() is None
        time.sleep(0.25)
    raise AssertionError("the server was not alive within two minutes")


def test_a_certificate_without_a_fitting_key_is_refused(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(ServeError, match="certificate.pem cannot be used .*expected a PEM certificate and its private"):
        serve(cast("App", FakeApp()), certfile=certificate[0])


def test_a_key_without_a_certificate_is_refused(certificate: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(cli.app, ["serve", "--keyfile", str(certificate[1])], env={"COLUMNS": "200"})
    assert result.exit_code == 2 and "add --certfile" in result.output


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("192.0.2.7", False), ("desk.example", False),  # noqa: S104 - not bound
    ],
)  # fmt: skip
def test_only_loopback_is_reached_by_this_machine_alone(host: str, alone: bool) -> None:
    assert only_here(host) is alone

"""The command ``sluiceway certificates``: a certificate authority for development, and gateway certificates from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["DevelopmentAuthority", "app"]

_PRIVATE: Final = 0o600
_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
_CA_DAYS: Final = 3650
_CLOCKS_DIFFER: Final = timedelta(hours=1)

app = typer.Typer(name="certificates", help="TLS certificates for development. In production your own authority issues them.", no_args_is_help=True)


class DevelopmentAuthority:
    """A certificate authority in a folder: ``ca.pem`` for clients to trust, ``ca.key`` for us alone.

    Args:
        folder: Where its files are; an existing authority is used again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if not self.certificate_file.exists():
            self._create()
        self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        key = serialization.load_pem_private_key(self._key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._key_file}: not an elliptic curve key")
        self._key = key

    @property
    def certificate_file(self) -> Path:
        """What clients verify gateways with."""
        return self._folder / "ca.pem"

    @property
    def _key_file(self) -> Path:
        return self._folder / "ca.key"

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sluiceway development authority")])
        builder = _builder(name, name, key.public_key(), days=_CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        _write_private(self._key_file, _pem(key))
        self.certificate_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, names: Sequence[str], *, days: int) -> tuple[Path, Path]:
        """Write ``server.pem`` (the chain) and ``server.key`` for host names and addresses; returns their paths.

        The issuer's key identifier is in it (RFC 5280, 4.2.1.1): Python 3.13 refuses certificates without.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        builder = _builder(subject, self._certificate.subject, key.public_key(), days=days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(one) for one in names]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        chain, private = self._folder / "server.pem", self._folder / "server.key"
        _write_private(private, _pem(key))
        own = certificate.public_bytes(serialization.Encoding.PEM)
        chain.write_bytes(own + self._certificate.public_bytes(serialization.Encoding.PEM))
        return chain, private


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, *, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCKS_DIFFER).not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


@app.callback()
def _commands() -> None:
    """TLS certificates for development. In production your own authority issues them."""


@app.command(epilog="Example: sluiceway certificates create --out tls --name gateway.example")
def create(
    out: Annotated[Path, typer.Option("--out", help="The folder for ca.pem, ca.key, server.pem and server.key.", show_default=False)],
    name: Annotated[list[str] | None, typer.Option("--name", help="A further host name or address; may be repeated.", show_default=False)] = None,
    days: Annotated[int, typer.Option(min=1, max=397, help="How long the gateway's certificate holds.")] = 397,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Make a gateway's certificate for localhost and further names; the authority is made too where the folder has none."""
    try:
        authority = DevelopmentAuthority(out)
        chain, key = authority.issue([*_ALWAYS, *(name or [])], days=days)
    except (OSError, ValueError, TypeError) as exc:
        typer.echo(f"sluiceway certificates: {exc}", err=True)
        raise typer.Exit(1) from exc
    made = {"ca_file": str(authority.certificate_file), "certificate_file": str(chain), "key_file": str(key)}
    if as_json:
        typer.echo(msgspec.json.encode(made).decode())
        return
    for what, path in made.items():
        typer.echo(f"{what} = {path}")


if __name__ == "__main__":
    sys.exit(app())

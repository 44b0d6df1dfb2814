"""Makes server.pem and server.key in a folder: a certificate that signed itself, or one that a server should not have.

  make_certificate.py FOLDER self|expired|other-name
"""

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def main():
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dlio-rs tests")])
    day = datetime.timedelta(days=1)
    end = datetime.datetime(2020, 1, 2, 3, 4) if kind == "expired" else datetime.datetime.now() + 2 * day
    names = [x509.DNSName("store.example.com")]
    if kind != "other-name":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(end - 10 * day)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # As openssl req -x509 makes it.
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


main()

"""Certificates for the servers of the tests"""
import datetime, ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_certificate(folder, pass_phrase=None):
    "A certificate for this machine, signed by itself, and its key: two files in PEM"
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'pod')])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName('localhost'), x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]
    crt = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()) \
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)) \
        .not_valid_after(now + datetime.timedelta(days=1)) \
        .add_extension(x509.SubjectAlternativeName(names), critical=False) \
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    lock = serialization.BestAvailableEncryption(pass_phrase) if pass_phrase else serialization.NoEncryption()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'pod.crt').write_bytes(crt.public_bytes(serialization.Encoding.PEM))
    (folder / 'pod.key').write_bytes(key.private_bytes(serialization.Encoding.PEM,
                                                       serialization.PrivateFormat.PKCS8, lock))
    return folder / 'pod.crt', folder / 'pod.key'


def both_in_one(folder):
    "The same as one file; and the digits of the certificate's fingerprint"
    crt, key = make_certificate(folder)
    (path := folder / 'both.pem').write_bytes(crt.read_bytes() + key.read_bytes())
    return str(path), x509.load_pem_x509_certificate(crt.read_bytes()).fingerprint(hashes.SHA256()).hex()

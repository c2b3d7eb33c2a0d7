"""Signed blobs against gpg and against what Perkeep made; claims in every order.

`data/perkeep-blobs.json` is our own recording of a Perkeep server; it says so at its head."""
import json, os, shutil, subprocess, sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymemri.blobs.ref import ref_of
from pymemri.blobs.signing import (BadSignature, PublicKey, SigningKey, armor, check_signature, dearmor, identity, json_object,
    keep_identity, new_signing_key, packet, packets, read_identity, read_public_key, read_signature, read_signed, sign_text)
from pymemri.core import Damaged, Invalid, NotFound

recorded = json.loads((Path(__file__).parent / 'data/perkeep-blobs.json').read_text(encoding='utf-8'))
blobs = {ref: text.encode() for ref, text in (recorded['keys'] | recorded['blobs']).items()}
key = new_signing_key(at=1_600_000_000)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def get(ref):
    if ref == key.public.ref: return key.public.blob
    if ref not in blobs: raise NotFound(f'no blob {ref}')
    return blobs[ref]


# --- what Perkeep made -----------------------------------------------------------------------------------------------

def test_the_recording_is_what_its_names_say():
    assert len(blobs) == 54 and all(ref_of(data) == ref for ref, data in blobs.items())


def test_every_signed_blob_of_perkeep_verifies_and_no_changed_one():
    signers = set()
    for data in blobs.values():
        if b'"camliSig"' not in data: continue
        found = read_signed(data, get)
        signers.add(found.key.key_id)
        assert found.says['camliSigner'] == found.signer and ref_of(found.key.blob) == found.signer
        with pytest.raises(BadSignature): read_signed(data.replace(b'"camliType"', b'"camliTypo"'), get)
    assert signers == {recorded['owner'], '00CF84A93E7A5130'}
    for text in recorded['tampered']:
        with pytest.raises(BadSignature, match='the text was changed'): read_signed(text.encode(), get)


def test_the_bytes_around_a_signature_are_those_of_perkeep():
    "All but RSA's number, which only the owner of the key can make"
    for data in blobs.values():
        text, cut, rest = data.rpartition(b',"camliSig":"')
        if not cut: continue
        said = json_object(text + b'}') | dict(camliSigner=key.public.ref)
        ours = sign_text(json.dumps(said), key, at=0)
        assert len(rest.removesuffix(b'\n')) == len(ours.rpartition(cut)[2].removesuffix(b'\n'))
        assert rest[:14] == ours.rpartition(cut)[2][:14]


# --- gpg -------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def gpg(tmp_path_factory):
    "Runs gpg in a home of its own"
    if not shutil.which('gpg'): pytest.skip('gpg is not installed')
    home = tmp_path_factory.mktemp('g')
    home.chmod(0o700)
    env = os.environ | dict(GNUPGHOME=str(home), LC_ALL='C')
    def run(*args, ok=True):
        done = subprocess.run(['gpg', '--batch', '--yes', '--pinentry-mode', 'loopback', '--passphrase', '', *map(str, args)],
                              env=env, capture_output=True)
        assert done.returncode == 0 or not ok, done.stderr.decode()
        return done
    yield run
    if shutil.which('gpgconf'): subprocess.run(['gpgconf', '--kill', 'all'], env=env, capture_output=True)


@pytest.fixture(scope='module')
def imported(gpg, tmp_path_factory):
    "Our key, in gpg's ring"
    path = tmp_path_factory.mktemp('keys') / 'ours' / 'identity-secring.gpg'
    keep_identity(key, path, name='Ada <ada@example.org>')
    gpg('--import', path)
    return gpg


def test_gpg_takes_our_key(imported):
    listed = imported('--with-colons', '--list-secret-keys').stdout.decode().splitlines()
    assert [line.split(':')[9] for line in listed if line.startswith('fpr')][0] == key.public.fingerprint
    assert [line.split(':')[9] for line in listed if line.startswith('uid')] == ['Ada <ada@example.org>']


def test_gpg_accepts_our_signatures_also_those_with_zeros_in_front(imported, tmp_path):
    (tmp_path / 'data').write_bytes(data := b'{"camliVersion": 1')
    made = [key.sign(data, at=i) for i in range(3000)]
    zeros = [s for s in made if read_signature(s).value.bit_length() <= 2040]
    assert zeros and len({len(s) for s in made}) == 1, 'signatures are of one length'
    for sig in [made[0], zeros[0], made[-1]]:
        (tmp_path / 'sig').write_bytes(sig)
        check_signature(key.public, data, read_signature(sig))
        assert b'Good signature' in imported('--ignore-time-conflict', '--verify', tmp_path / 'sig', tmp_path / 'data').stderr


@pytest.mark.parametrize('digest,good', [('SHA256', True), ('SHA1', True), ('SHA512', False)])
def test_signatures_of_gpg(imported, tmp_path, digest, good):
    (tmp_path / 'data').write_bytes(data := b'what is signed')
    imported('--local-user', key.public.fingerprint, '--digest-algo', digest, '--output', tmp_path / 'sig', '--detach-sign',
             tmp_path / 'data')
    sig = (tmp_path / 'sig').read_bytes()
    assert sig[0] & 0x40 == 0, 'gpg writes an old header here, which is what this test is for'
    if not good:
        with pytest.raises(BadSignature, match='wanted is SHA-256'): read_signature(sig)
        return
    check_signature(key.public, data, read_signature(sig))
    with pytest.raises(BadSignature, match='the text was changed'): check_signature(key.public, data + b'x', read_signature(sig))


def test_keys_of_gpg(gpg, tmp_path):
    gpg('--quick-gen-key', 'Bob', 'rsa2048', 'sign', 'never')
    public = gpg('--armor', '--export', 'Bob').stdout
    found = read_public_key(public)
    listed = gpg('--with-colons', '--list-keys', 'Bob').stdout.decode().splitlines()
    assert found.fingerprint == [line.split(':')[9] for line in listed if line.startswith('fpr')][0]
    for args in (['--armor'], []):
        (tmp_path / 'ring').write_bytes(gpg(*args, '--export-secret-keys', 'Bob').stdout)
        bob = read_identity(tmp_path / 'ring')
        assert bob.public == found
        check_signature(found, b'x', read_signature(bob.sign(b'x')))
    blobs[ref_of(public)] = public  # a key blob with a name and signatures in it will do
    text = json.dumps(dict(camliVersion=1, camliSigner=ref_of(public)))
    packed = bob.sign(text[:-1].encode())
    assert read_signed(signed_by_hand(text, packed), get).key == found


def signed_by_hand(text, packed):
    "A signed blob around a signature packet that came from somewhere"
    lines = armor('SIGNATURE', packed).splitlines()[2:-1]
    return f'{text[:-1]},"camliSig":"{"".join(lines)}"}}\n'.encode()


def test_a_whole_blob_signed_by_gpg(imported, tmp_path):
    text = json.dumps(dict(camliVersion=1, camliSigner=key.public.ref, camliType='permanode', random='r'))
    (tmp_path / 'data').write_text(text[:-1])
    imported('--local-user', key.public.fingerprint, '--digest-algo', 'SHA256', '--output', tmp_path / 'sig', '--detach-sign',
             tmp_path / 'data')
    assert read_signed(signed_by_hand(text, (tmp_path / 'sig').read_bytes()), get).says['random'] == 'r'


def test_a_key_with_a_passphrase_is_refused_with_the_way_out(gpg, tmp_path):
    gpg('--passphrase', 'secret', '--quick-gen-key', 'Eve', 'rsa2048', 'sign', 'never')
    (tmp_path / 'ring').write_bytes(gpg('--passphrase', 'secret', '--export-secret-keys', 'Eve').stdout)
    with pytest.raises(Invalid, match='passphrase: take it off'): read_identity(tmp_path / 'ring')


# --- anything ----------------------------------------------------------------------------------------------------------

said = st.dictionaries(st.text(max_size=8).filter(lambda k: not k.startswith('camli')), st.text(max_size=30), max_size=4)


@quick
@given(said, st.integers(-10**10, 10**11))
def test_what_is_signed_reads_back_and_verifies(more, at):
    text = json.dumps(dict(camliVersion=1, camliSigner=key.public.ref) | more, ensure_ascii=False)
    found = read_signed(blob := sign_text(text, key, at), get)
    assert found.says == json_object(text.encode()) and found.key == key.public and blob == sign_text(text, key, at)


@quick
@given(st.data())
def test_no_changed_byte_of_a_signed_blob_goes_through(data):
    "Nothing else than refusal, and nothing else than what was said, comes of a spoiled blob"
    says = dict(camliVersion=1, camliSigner=key.public.ref, camliType='permanode', random='r')
    blob = sign_text(json.dumps(says), key, at=5)
    at, flip = data.draw(st.integers(0, len(blob) - 1)), data.draw(st.integers(1, 255))
    spoiled = blob[:at] + bytes([blob[at] ^ flip]) + blob[at+1:]
    try: assert read_signed(spoiled, get).says == says
    except (BadSignature, NotFound): pass


@quick
@given(st.binary(max_size=300))
def test_no_bytes_crash_the_readers(data):
    for wrapped in (data, packet(2, data), packet(5, data), packet(6, data), armor('PUBLIC KEY BLOCK', packet(6, data)).encode()):
        for read in (read_signature, read_public_key, lambda d: list(packets(d)), json_object, lambda d: read_signed(d, get)):
            try: read(wrapped)
            except (Invalid, Damaged): pass


def test_two_programs_that_ask_at_once_get_one_key(tmp_path):
    code = 'import sys; from pymemri.blobs.signing import identity; print(identity(sys.argv[1]).public.key_id)'
    runs = [subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ids = {r.communicate()[0].strip() for r in runs}
    assert len(ids) == 1 and ids == {identity(tmp_path).public.key_id}
    assert [p.name for p in (tmp_path / 'blobs').iterdir()] == ['identity-secring.gpg']

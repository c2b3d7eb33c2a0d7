"""Signed blobs against gpg and against what Perkeep made; claims in every order.

`data/perkeep-blobs.json` is our own recording of a Perkeep server; it says so at its head."""
import json, os, shutil, subprocess, sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymemri.blobs.ref import ref_of
from pymemri.blobs.schema import (Claim, State, add_attribute, claim_of, claims_that_count, del_attribute, delete, moment, nanos,
    planned_permanode, read_claim, read_schema, schema_text, set_attribute, share, state)
from pymemri.blobs.signing import (BadSignature, armor, check_signature, dearmor, identity, json_object, keep_identity,
    new_signing_key, packet, packets, read_identity, read_public_key, read_signature, read_signed, sign_text)
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


def test_a_text_is_searched_for_a_key_once():
    "Where each block that begins was looked at to the end, a quarter of a mebibyte took most of a minute, and the index with it"
    for endless in ('-----BEGIN PGP A-----\n\n' * 11_000, '-----BEGIN PGP A-----\nx:' * 11_000):
        with pytest.raises(Invalid, match='no armored'): dearmor(endless)
    with pytest.raises(Invalid, match='no armored'): dearmor('-----BEGIN PGP NOTE-----\n\n' + armor('MESSAGE', b'x'))


def test_two_programs_that_ask_at_once_get_one_key(tmp_path):
    code = 'import sys; from pymemri.blobs.signing import identity; print(identity(sys.argv[1]).public.key_id)'
    runs = [subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ids = {r.communicate()[0].strip() for r in runs}
    assert len(ids) == 1 and ids == {identity(tmp_path).public.key_id}
    assert [p.name for p in (tmp_path / 'blobs').iterdir()] == ['identity-secring.gpg']


# --- schema: the one spelling ------------------------------------------------------------------------------------------

def test_our_spelling_is_that_of_perkeep():
    "Every blob that its tools wrote is written again, byte for byte, up to the signature"
    checked = 0
    for ref, text in recorded['blobs'].items():
        if not text.startswith('{"camliVersion": 1,\n'): continue  # written by hand, for a test
        said, cut, _ = text.rpartition(',"camliSig":"')
        if cut: assert schema_text(json.loads(said + '}'))[:-1] == said
        else: assert schema_text(json.loads(text)) == text
        checked += 1
    assert checked >= 20


def test_strange_letters_are_spelled_as_go_spells_them():
    said = schema_text(dict(camliType='file', fileName='<a href="x">&\u2028\u2029\x00\x1f\x7f é 😀</a>'))
    assert '"\\u003ca href=\\"x\\"\\u003e\\u0026\\u2028\\u2029\\u0000\\u001f\x7f é 😀\\u003c/a\\u003e"' in said


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner:
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)


@quick
@given(st.dictionaries(st.text(max_size=9), json_values, max_size=5))
def test_what_is_spelled_reads_back_and_is_spelled_the_same(said):
    said |= dict(camliType='x', camliVersion=1)
    text = schema_text(said)
    assert read_schema(text.encode()) == said and schema_text(read_schema(text.encode())) == text
    assert not set('<>&\u2028\u2029') & set(text)


@quick
@given(st.integers(nanos('0001-01-01T00:00:00Z'), nanos('9999-12-31T23:59:59.999999999Z')), st.integers(-1439, 1439))
def test_moments_keep_every_nanosecond(ns, off):
    text = moment(ns)
    assert nanos(text) == ns and moment(text) == text
    assert not text.endswith('0Z') or '.' not in text
    if ns % 1000 == 0 and abs(ns) < 10**18: assert moment(datetime.fromisoformat(text)) == text
    here = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=ns // 10**9)
    if 2 < here.year < 9998:
        there = here.astimezone(timezone(timedelta(minutes=off))).isoformat()
        assert nanos(there) == ns // 10**9 * 10**9


# --- claims, in every order --------------------------------------------------------------------------------------------

NODE, NODES = 'sha224-' + 'a' * 56, ['sha224-' + c * 56 for c in 'ab']
ME, OTHER = 'A' * 16, 'B' * 16


@st.composite
def histories(draw):
    "Claims as they may stand in a store: a delete names a permanode or a claim that was made before it"
    made = []
    refs = draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=9, unique=True))
    for i in refs:
        kind = draw(st.sampled_from(['set-attribute', 'add-attribute', 'del-attribute', 'delete', 'delete', 'zorp']))
        day = draw(st.sampled_from(['01T00:00:00Z', '02T00:00:00Z', '02T01:00:00+01:00', '02T00:00:00.5Z', '03T00:00:00Z']))
        common = dict(ref=f'sha224-{i:056x}', signer=draw(st.sampled_from([ME, ME, ME, OTHER])), date=f'2021-01-{day}', kind=kind)
        if kind == 'delete': made.append(Claim(**common, target=draw(st.sampled_from([NODE, *(c.ref for c in made)]))))
        else: made.append(Claim(**common, permanode=draw(st.sampled_from(NODES)), attr=draw(st.sampled_from('pq')),
                                value=draw(st.sampled_from(['', 'x', 'y']))))
    return made


def plainly(node, claims, owner, at):
    "The rules of the specification again, as naively as they can be written"
    mine = [c for c in claims if c.signer == owner and (at is None or nanos(c.date) <= nanos(at))]
    def deleted(ref): return any(c.kind == 'delete' and c.target == ref and not deleted(c.ref) for c in mine)
    attrs, last = {}, None
    for c in sorted(mine, key=lambda c: (nanos(c.date), c.ref)):
        if c.permanode != node or deleted(c.ref): continue
        values = attrs.setdefault(c.attr, [])
        if c.kind == 'set-attribute': values[:] = filter(None, [c.value])
        elif c.kind == 'add-attribute': values += [c.value] if c.value and c.value not in values else []
        elif c.kind == 'del-attribute': values[:] = [v for v in values if c.value and v != c.value]
        else: continue
        if c.kind == 'del-attribute' or c.value: last = c.date
    return State({k: v for k, v in attrs.items() if v}, last, deleted(node))


@settings(max_examples=300, deadline=None)
@given(histories(), st.data())
def test_every_order_gives_the_state_that_the_rules_give(claims, data):
    at = data.draw(st.sampled_from([None, '2020-01-01T00:00:00Z', '2021-01-02T00:00:00Z', '2021-01-02T00:00:00.4Z']))
    order = data.draw(st.permutations(claims))
    twice = data.draw(st.lists(st.sampled_from(claims), max_size=2))
    assert state(NODE, order + twice, ME, at) == plainly(NODE, claims, ME, at)
    without = [c for c in order if c.signer == ME]
    assert state(NODE, order, ME, at) == state(NODE, without, ME, at), 'a stranger had a say'
    for owner in (ME, OTHER):
        counting = claims_that_count(NODE, order, owner, at)
        assert counting == claims_that_count(NODE, claims, owner, at)
        assert {c.ref for c in counting} <= {c.ref for c in claims if c.signer == owner}


@settings(max_examples=100, deadline=None)
@given(histories(), st.randoms())
def test_what_arrives_later_makes_one_state_whatever_came_first(claims, random):
    "Step by step, as an index would: each prefix of an order is the state of its set"
    for _ in range(3):
        order = random.sample(claims, len(claims))
        seen = []
        for c in order:
            seen.append(c)
            assert state(NODE, seen, ME) == state(NODE, sorted(seen, key=lambda c: c.ref), ME)
        assert state(NODE, seen, ME) == state(NODE, claims, ME)


def test_claims_that_cannot_be_are_no_endless_loop():
    "No digest allows a circle; a made-up one must end all the same"
    a, b = (Claim('sha224-' + x * 56, ME, '2021-01-01T00:00:00Z', 'delete', target='sha224-' + y * 56) for x, y in ('cd', 'dc'))
    assert isinstance(state(a.ref, [a, b], ME).deleted, bool)


def story():
    "The recorded claims that verify, by what they say"
    found = {}
    for ref, data in blobs.items():
        if b'"camliSig"' in data and (c := claim_of(ref, read_signed(data, get))): found[ref] = c
    return found


def test_states_that_perkeep_described():
    "The recorded story of one permanode, told up to each point, gives what Perkeep answered there"
    node = 'sha224-870e848845f9571af82a379b56c3a6e534372bcd678af84380510f30'
    claims = [c for c in story().values()]
    def then(at): return state(node, claims, recorded['owner'], at)
    assert then('2021-01-01T00:00:00Z') == State({'title': ['before its permanode']}, '2021-01-01T00:00:00Z', False)
    assert then('2021-01-02T00:00:00Z').attrs['tag'] == ['t']
    assert 'tag' not in then('2021-01-03T00:00:00Z').attrs, 'a delete that came before its target counts, unlike there'
    assert then('2021-05-01T00:00:00Z').attrs['color'] == ['a'], 'equal dates: the greater ref comes later'
    assert then('2021-06-30T00:00:00Z') == State({'color': ['a']}, '2021-05-01T00:00:00Z', False)
    assert then('2021-07-03T00:00:00Z').attrs['tag'] == ['u', 'v']
    assert then('2021-07-04T00:00:00Z') == State({'color': ['a']}, '2021-07-04T00:00:00Z', False)
    assert then(None) == State({'color': ['a'], 'title': ['future']}, '2099-01-01T00:00:00Z', False)


def test_foreign_deletes_and_undeletes_of_the_recording():
    claims = [*story().values()]
    gone = 'sha224-e50972d8263880831d40d643545dd1f5119f2f144d48c238207c1b63'
    assert [state(gone, claims, recorded['owner'], f'2021-01-0{d}T12:00:00Z').deleted for d in (1, 2, 3)] == [False, True, False]
    for victim in ('sha224-8dd2dd95c3ac4dee26127ee299bc069aed61287fa2b127b5ffb19ab6',
                   'sha224-95120819a528fa4ffa2e0bb246b1c9ccb1e80fa0cb186f044b79d841'):
        found = state(victim, claims, recorded['owner'])
        assert found.attrs['title'][0].startswith('victim') and not found.deleted
        assert state(victim, claims, '00CF84A93E7A5130').deleted


def test_claims_of_each_kind_make_the_round():
    node = ref_of(made := planned_permanode(key, 'photo', '2020-01-01T00:00:00Z'))
    assert read_signed(made, get).says['key'] == 'photo'
    wrote = [set_attribute(key, node, 'title', 'a', at=10**9), add_attribute(key, node, 'tag', 'x', at=2 * 10**9),
             del_attribute(key, node, 'tag', at=3 * 10**9), delete(key, node, at=4 * 10**9), share(key, node, True, at=5 * 10**9)]
    assert [read_claim(b, get).kind for b in wrote] == ['set-attribute', 'add-attribute', 'del-attribute', 'delete', 'share']
    assert [nanos(read_claim(b, get).date) for b in wrote] == [i * 10**9 for i in range(1, 6)]
    assert state(node, [read_claim(b, get) for b in wrote], key.public.key_id) == State({'title': ['a']}, moment(3 * 10**9), True)
    theirs = next(t for t in recorded['blobs'].values() if '"share"' in t)
    def shape(data): return {k for k in json_object(data)}
    assert shape(wrote[-1]) == shape(theirs.encode())

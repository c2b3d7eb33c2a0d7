"""Cards: whatever items say, their HTML is well-formed and closed, opens no tag of its own, keeps secrets, stays within its
size, and is the same every time."""
import copy, gc, io, pickle, re, sys
from datetime import datetime, timezone
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from PIL import Image
import pymemri.data.photo as photo_module
from pymemri.core import Invalid
from pymemri.data.cards import HIDDEN, STYLE, link, list_card, one_line, schema_card, thumbnails, title_of
from pymemri.data.item import Edge, Item, ItemList, load_pandas
from pymemri.data.photo import Photo, encode_image, small_pictures, small_webp
from pymemri.data.schema import Account, EmailMessage, File, Person, PluginRun, PluginRunLog, Website
from pymemri.options import options
from pymemri.pod.client import PodClient

TAGS = {'style', 'div', 'p', 'strong', 'small', 'span', 'code', 'details', 'summary', 'dl', 'dt', 'dd', 'ul', 'li', 'table',
        'thead', 'tbody', 'tr', 'th', 'td', 'br', 'img', 'figure', 'figcaption', 'a', 'mark', 'pre', 'progress'}
ATTRS = {'class', 'role', 'aria-label', 'aria-hidden', 'dir', 'scope', 'alt', 'width', 'height', 'src', 'open', 'href', 'target',
         'rel', 'style', 'max', 'value', 'colspan', 'data-lm-suppress-shortcuts'}
VOID = {'br', 'img'}


class Reader(HTMLParser):
    "Reads HTML as strictly as we write it: every tag known, every attribute known, everything closed in order"
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.links, self.images, self.texts = [], [], [], []
    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        for k, v in attrs:
            assert k in ATTRS, (tag, k, v)
            if k == 'href': self.links.append(v)
            if k == 'src': self.images.append(v)
            if k == 'style': assert re.fullmatch(r'[a-z0-9:;. -]*', v.lower()), v
        if tag == 'img': assert dict(attrs)['alt'], 'a picture without an alternative'
        if tag not in VOID: self.open.append(tag)
    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()
    def handle_data(self, data):
        if self.open[-1:] != ['style']: self.texts.append(data)
    def handle_comment(self, data): raise AssertionError(f'a comment: {data}')
    def handle_decl(self, decl): raise AssertionError(f'a declaration: {decl}')
    def handle_pi(self, data): raise AssertionError(f'an instruction: {data}')
    def unknown_decl(self, data): raise AssertionError(f'a declaration: {data}')


def read(html):
    "`html`, read; it must be text that can be saved"
    reader = Reader()
    reader.feed(html.encode('utf-8').decode())
    reader.close()
    assert not reader.open, reader.open
    assert all(a.startswith(('http://', 'https://')) for a in reader.links)
    assert all(re.fullmatch(r'data:image/webp;base64,[A-Za-z0-9+/=]*', s) for s in reader.images)
    reader.text = ' '.join(reader.texts)
    return reader


def pixels(seed=0, *shape): return np.random.default_rng(seed).integers(0, 256, shape or (60, 80, 3), np.uint8)
PNG = encode_image(pixels())
def picture(seed=0): return Photo.from_np(pixels(seed))


# --- hostile texts ---------------------------------------------------------------------------------------------------------
EVIL = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", '</style><script>', '<!--',
        ']]>', 'javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'https://a.b/"onclick="x', "https://a.b/'><script>", '\ud800', '\0\x1b[31m',
        '&lt;b&gt;', '{0} %s {x}', 'data:text/html,<script>', '\u202eabc', '\u2028', '**<b>**', 'http://[', '</details></div>']
hostile = st.one_of(st.sampled_from(EVIL), st.text(st.characters(codec=None), max_size=60),
                    st.builds(str.__add__, st.sampled_from(EVIL), st.sampled_from(EVIL)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile, hostile, hostile, st.booleans())
@example('</style><script>', 'javascript:alert(1)', '"><script>', False)
def test_no_text_opens_a_tag_or_an_attribute(a, b, c, redact):
    person = Person(firstName=a, email=b, id=c or None, account=Account(handle=b, service=a, secret=c))
    setattr(person, f'x{b}', a)                             # an undeclared property of any name
    person.website = Website(url=b)
    person.get_edges('website')[0]._type = c                # an edge of any name
    person.__dict__['_snippet'] = f'**{a}** {b}'
    photo = Photo(caption=a, name=b, file=File(filename=c), data=PNG)
    run = PluginRun(pluginName=a, status=b, error=c, authUrl=b, progress=.5, output=PluginRunLog(content=a + '\n' + b))
    kind = type(Item)('Odd', (Item,), dict(__doc__=c.encode('utf-8', 'replace').decode(), __annotations__={}))
    kind.properties = kind.properties + [b]
    edge = Edge(person, photo, c, label=a)
    with options(redact=redact):
        for html in [o._repr_html_() for o in (person, photo, run, edge, kind(), kind.schema,
                     ItemList([person, photo, run, kind()]), ItemList([photo, photo]))] + [list_card([person, a, b])]:
            reader = read(html)
            assert not any('javascript:' in s.lower() for s in reader.links)
        assert '\n' not in one_line(person) and one_line(person).isprintable()


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile)
def test_only_web_addresses_become_links(text):
    html = link(text, 80)
    if html: assert re.match(r'https?://[^/?#]', text) and read(html).links == [text]
    for scheme in ('javascript', 'data', 'file', 'vbscript', ' https', 'https:'): assert link(f'{scheme}:{text}', 80) is None


# --- redaction -------------------------------------------------------------------------------------------------------------
words = st.text('ABCDEFGHIJKLMNOPQRSTUVWXYZ', min_size=12, max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(words, min_size=9, max_size=9, unique=True))
def test_redaction_leaks_nothing(some):
    a, b, c, d, e, f, g, h, i = some
    person = Person(firstName=a, lastName=b, email=f'https://{c}.org', birthDate=datetime(1815, 12, 10, tzinfo=timezone.utc),
                    externalId=d, account=Account(handle=e, secret=f), itemDescription=h)
    setattr(person, 'weightOfIt', 731.25)
    person.__dict__['_snippet'] = f'**{a}** {g}'
    photo = Photo(data=PNG, caption=g, latitude=12.3456, file=File(filename=h),
                  includes=person, width=80, height=60)
    run = PluginRun(pluginName=i, error=a, status=b, progress=.5, authUrl=f'https://{c}.org', output=PluginRunLog(content=d))
    edge = Edge(person, photo, 'seen', label=e, sequence=8315)
    with options(redact=True):
        out = [x for o in (person, photo, run, edge, ItemList([person, photo, run]), ItemList([photo, photo]))
               for x in (o._repr_html_(), repr(o))] + [one_line(person), one_line(photo), title_of(person)]
    for html in out:
        html = re.sub(r'\b[0-9a-f]{8,32}\b', '', html) # ids are no secret, and may hold any digits
        for secret in [*some, '1815', '731', '12.34', '8315', 'data:image']: assert secret not in html.replace(STYLE, ''), secret
    assert HIDDEN in out[0] and a in person._repr_html_()


def test_secrets_are_never_shown():
    account = Account(handle='door', secret='hush', accessToken='hush', refreshToken='hush', code='hush')
    setattr(account, 'sessionToken', 'hush')
    account.__dict__['_snippet'] = '**hush** the door'
    for o in (account, ItemList([account]), Person(account=account), Edge(account, account, 'trust')):
        assert 'hush' not in o._repr_html_() and 'hush' not in one_line(account)
    assert 'secret' in account._repr_html_()               # that there is one is no secret


# --- sizes -----------------------------------------------------------------------------------------------------------------
def test_cycles_and_thousands_of_edges_are_bounded():
    people = [Person(firstName=f'person {i}') for i in range(60)]
    for p in people:
        for n in ('me', 'relationship', 'mergedFrom', 'account', 'website', 'label', 'measure', 'sharedWith'):
            for q in people: p.add_edge(n, q)
    html = people[0]._repr_html_()
    assert len(html) < 200_000 and '(above)' in html and '… and 48 more' in html
    read(html)
    hub = Person(firstName='hub')
    hub.account = [Account(handle=f'a{i}', owner=hub) for i in range(5000)]
    with options(edges=3): html = hub._repr_html_()
    assert len(html) < 20_000 and '4,997 more' in html and '(5,000)' in html
    assert len(Edge(hub, hub, 'me')._repr_html_()) < 10_000
    wide = Person(firstName='wide')
    for i in range(2000): setattr(wide, f'property{i}', 'x' * 10_000)
    html = wide._repr_html_()
    assert len(html) < 250_000 and '1,801 more properties' in html
    assert len(ItemList([wide] * 10_000)._repr_html_()) < 60_000


@pytest.mark.parametrize('budget', [0, 1_000, 20_000, 900_000])
def test_a_gallery_keeps_its_budget(budget):
    photos = ItemList(picture(i) for i in range(60))
    with options(budget=budget): html = photos._repr_html_()
    reader = read(html)
    assert sum(map(len, reader.images)) <= budget and len(html) < budget + len(STYLE) + 60 * 400 + 1000
    assert '60 photos' in reader.text and (len(reader.images) == 60 or f'{60 - len(reader.images)} more' in reader.text)
    if budget == 900_000: assert len(reader.images) == 60


def test_pictures_get_smaller_before_they_get_fewer():
    photos = [picture(i) for i in range(12)]
    usual = sum(len(w) * 4 / 3 for w in thumbnails(photos, 64, 10**9)[0])
    webps, side = thumbnails(photos, 64, round(usual * .6))
    assert len(webps) == 12 and side < 64


def test_two_hundred_photos_fit_the_default():
    one, other = picture(1), picture(2)
    html = ItemList([one, other] * 100)._repr_html_()
    assert len(read(html).images) == 200 and len(html) < options.budget + len(STYLE) + 200 * 400


# --- pictures --------------------------------------------------------------------------------------------------------------
def test_thumbnails_stand_upright_and_say_nothing():
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112], exif[0x010F] = 6, 'Acme'
    exif.get_ifd(0x8825).update({1: 'N', 2: (52.0, 22.0, 12.0)})
    Image.fromarray(pixels()).save(out, 'JPEG', exif=exif)
    webp = small_webp(Photo.from_bytes(out.getvalue()), 64)
    im = Image.open(io.BytesIO(webp))
    assert im.format == 'WEBP' and im.size == (48, 64) and not dict(im.getexif()) and b'Acme' not in webp and b'EXIF' not in webp


def test_thumbnails_are_made_once(monkeypatch):
    photo, calls = picture(77), []
    real = photo_module.shrunk
    monkeypatch.setattr(photo_module, 'shrunk', lambda *args: calls.append(args) or real(*args))
    assert photo._repr_html_() == photo._repr_html_() and len(calls) == 1
    assert small_pictures.used <= small_pictures.room


@pytest.mark.parametrize('data', [b'', b'no picture', encode_image(pixels())[:200]])
def test_damaged_pictures_leave_the_card_readable(data):
    photo = Photo(data=data, caption='a caption', width=10**9, height=1)
    assert 'a caption' in read(photo._repr_html_()).text and not read(photo._repr_html_()).images
    assert 'not shown' in read(ItemList([photo, photo])._repr_html_()).text


# --- changes ---------------------------------------------------------------------------------------------------------------
def test_unsaved_changes_are_marked_and_go_when_they_are_sent(tmp_path):
    with PodClient(home=tmp_path, quiet=True) as client:
        ada = Person(firstName='Ada')
        assert 'not in the Pod yet' in ada._repr_html_()
        client.create(ada)
        assert 'unsaved' not in ada._repr_html_() and not client.unsaved()
        ada.lastName, ada.email = 'Lovelace', 'a@b.c'
        ada.add_edge('account', account := Account(handle='@ada'))
        text = read(ada._repr_html_()).text
        assert '2 unsaved properties' in text and 'lastName, email' in text and '1 new edge' in text
        assert 'unsaved' in ItemList([ada])._repr_html_() and list(client.unsaved()) == [ada]
        assert '1 item' in read(client._repr_html_()).text
        client.create(account)
        client.sync()
        assert 'unsaved' not in ada._repr_html_() and 'new edge' not in ada._repr_html_()


def test_a_search_says_where_it_was_found(tmp_path):
    with PodClient(home=tmp_path, quiet=True) as client:
        client.bulk_action(create_items=[EmailMessage(subject='tea', content='the <b>conference</b> is tomorrow'),
                                         EmailMessage(subject='x')])
        found = client.search({'type': 'EmailMessage', '_text': 'conference'})
        for html in (found._repr_html_(), found[0]._repr_html_()):
            assert '<mark>conference</mark>' in html and '<b>' not in html
            read(html)


# --- clients ---------------------------------------------------------------------------------------------------------------
def test_the_card_of_a_client_shows_counts_and_no_key(tmp_path):
    with PodClient(home=tmp_path, quiet=True) as client:
        client.bulk_action(create_items=[Person(firstName=f'p{i}') for i in range(7)] + [Account(handle='a')])
        html = client._repr_html_()
        assert 'Person 7 · Account 1' in read(html).text and 'embedded' in html
        assert client.owner_key not in html and client.database_key not in html and str(tmp_path) not in html
        with options(redact=True): assert client.owner_key[:6] not in client._repr_html_()


def test_items_know_their_client_weakly(tmp_path):
    client = PodClient(home=tmp_path, quiet=True)
    photo = picture(5)
    client.create_photo(photo, asyncFlag=False)
    client.reset_local_db()
    there = client.get(photo.id)
    assert there._client is client and there.file[0]._client is client and there.data is None
    small_pictures.kept.clear()
    assert read(there._repr_html_()).images                # read from the Pod
    assert there.data is None                               # and not kept
    assert copy.copy(there)._client is None
    for twin in (pickle.loads(pickle.dumps(there)), copy.deepcopy(there)):
        assert twin._client is None and twin.to_json() == there.to_json()
        assert [f.sha256 for f in twin.file] == [photo.file[0].sha256]
    assert '_client_ref' not in there.__dict__
    client.close()
    small_pictures.kept.clear()
    there._repr_html_()                                     # a closed client is no error of a card
    del client
    gc.collect()
    assert there._client is None


def test_a_gallery_reads_a_limited_number_of_pictures(tmp_path):
    with PodClient(home=tmp_path, quiet=True) as client:
        photos = [picture(i) for i in range(100, 108)]
        for p in photos: client.create_photo(p, asyncFlag=False)
        client.reset_local_db()
        small_pictures.kept.clear()
        found = client.search({'type': 'Photo'})
        with options(reads=3): reader = read(found._repr_html_())
        assert len(reader.images) == 3 and reader.text.count('not shown') == 5


# --- the same every time ---------------------------------------------------------------------------------------------------
def test_stable_bytes():
    def make():
        ada = Person(firstName='Ada', id='ada', profilePicture=picture(3), account=[Account(handle=str(i)) for i in range(5)])
        return [o._repr_html_() for o in (ada, ItemList([ada, ada.account[0]]), ada.get_edges('account')[0], Person.schema)]
    first = make()
    small_pictures.kept.clear()
    assert first == make()


def test_every_table_has_headers_and_every_list_its_terms():
    ada = Person(firstName='Ada', account=Account(handle='@a'))
    for html in (ada._repr_html_(), ItemList([ada])._repr_html_(), Person.schema._repr_html_(), options._repr_html_()):
        for th in re.findall(r'<th\b[^>]*>', html): assert re.search(r'scope="(row|col)"', th)
        assert html.count('<dt>') == html.count('<dd>')


def test_one_line_and_repr():
    p = Person(firstName='Ada', lastName='Lovelace', id='0190a1b2c3d47000800000000000beef')
    assert (repr(p), one_line(p)) == (f'Person (#{p.id})', "Person('Ada Lovelace', #…0000beef)")
    assert one_line(Person()) == 'Person()' and one_line(Photo(id='a', file=File(filename='b.jpg'))) == "Photo('b.jpg', #a)"


def test_without_pandas_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pandas', None)
    with pytest.raises(ImportError, match='pip install pandas'): ItemList([Person()]).to_df()
    with pytest.raises(ImportError, match='pip install pandas'): load_pandas()


def test_options_are_checked():
    with pytest.raises(Invalid, match='did you mean `redact`'): options(redacted=True)
    assert options.redact is False and schema_card(Person, 'x')

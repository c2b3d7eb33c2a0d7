"""Do the pages of a folder hold together, and without a network?"""
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.refs = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.ids |= {d[k] for k in ("id", "name") if d.get(k)}
        for k in ("href", "src"):
            if d.get(k): self.refs.append((tag, d[k]))


def problems(out):
    "Links that lead nowhere, and anything a page would have to fetch from the network"
    pages = {f: Page(f.read_text(encoding="utf-8")) for f in sorted(out.rglob("*.html"))}
    for f, page in pages.items():
        for tag, ref in page.refs:
            rel = f.relative_to(out)
            if re.match(r"[a-z][a-z0-9+.-]*:|//", ref):
                if tag not in ("a",) and not ref.startswith("data:"): yield f"{rel}: <{tag}> needs the network: {ref}"
                continue
            path, anchor = urldefrag(ref)
            target = (f.parent / unquote(path.partition("?")[0])).resolve() if path else f
            if not target.is_file(): yield f"{rel}: no such file: {ref}"
            elif anchor and target in pages and unquote(anchor) not in pages[target].ids:
                yield f"{rel}: no such anchor: {ref}"

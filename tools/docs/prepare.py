"""Turn nbdev's processed notebooks (`_proc/`) into notebooks that Sphinx and MyST-NB read.

nbdev's own steps (hide, export, exports, filter_stream, show_doc, links, ...) run first, unchanged.
What they leave in `_proc/` speaks Quarto's dialect; this file translates that dialect:

  front matter cell           -> a title, the module's name, and a lead paragraph
  `#| echo: false` and so on  -> MyST-NB cell tags
  `show_doc(x)` + its output  -> a Python-domain directive: indexed, searchable, in the page's contents
  links to doc_host/...       -> references to those directives, so relative: file:// works
  ::: {.callout-note}         -> an admonition
  nbs/sidebar.yml             -> the contents of the site
"""
import ast, hashlib, inspect, json, os, re, shutil, sys
from enum import Enum
from functools import cached_property
from itertools import groupby
from pathlib import Path

import yaml
from fastcore.docments import ShowDocRenderer, _docstring, _unwrap_sym, docments, qual_name
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev import processors
from nbdev.serve import proc_nbs

HERE = "@HERE@"  # stands for the module that the notebook exports to
MEMBER = "@MEMBER@"  # stands before and after the directive of a class's member
PICTURES = {".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp"}
EMPTY = inspect.Parameter.empty


# -- show_doc -----------------------------------------------------------------
class _Bare(str):
    "A string whose repr has no quotes, so that `Signature` prints it as it is"
    __repr__ = str.__str__


FOREIGN = re.compile(r"(?<![\w.@])(?!pymemri\.|__main__\.)(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")


def _annotation(a):
    "As in the source: `Path`, not the module that this Python version keeps it in"
    return FOREIGN.sub("", a if isinstance(a, str) else inspect.formatannotation(a))


def _signature(sym, method):
    # nobody calls these
    if inspect.isclass(sym) and (issubclass(sym, Enum) or getattr(sym, "_is_protocol", False)): return ""
    try: sig = inspect.signature(sym)
    except (TypeError, ValueError): return "()"
    ps = list(sig.parameters.values())
    if method and ps and ps[0].name in ("self", "cls"): ps = ps[1:]
    ps = [p.replace(annotation=EMPTY if p.annotation is EMPTY else _Bare(_annotation(p.annotation)),
                    default=EMPTY if p.default is EMPTY else _Bare(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(p.default))))
          for p in ps]
    out = str(sig.replace(parameters=ps, return_annotation=EMPTY))
    if sig.return_annotation is EMPTY or inspect.isclass(sym): return out
    return f"{out} -> {_annotation(sig.return_annotation)}"


class MystRenderer(ShowDocRenderer):
    "A `show_doc` renderer that writes a Python-domain directive"
    def __init__(self, sym, name=None, title_level=3, maxline=110):
        # `super().__init__` would evaluate annotations, some of which name classes that come later
        self.given, self.sym = sym, _unwrap_sym(sym)
        self.nm, self.docs = name or qual_name(self.sym), _docstring(self.sym)

    def _repr_markdown_(self): return self.directive  # it is asked for twice

    @cached_property
    def directive(self):
        sym, options, bases = self.sym, [], []
        module = getattr(sym, "__module__", None) or "__main__"
        options.append(f":module: {HERE if module == '__main__' else module}")  # nbdev runs exported cells in __main__
        if isinstance(self.given, property):
            kind, sig = "property", ""
            returns = inspect.signature(sym).return_annotation
            if returns is not EMPTY: options.append(f":type: {_annotation(returns)}")
        elif inspect.isclass(sym):
            kind, sig = "exception" if issubclass(sym, BaseException) else "class", _signature(sym, False)
            bases = [f"{{py:obj}}`~{HERE if b.__module__ == '__main__' else b.__module__}.{b.__qualname__}`"
                     for b in sym.__bases__ if (b.__module__.split(".")[0] in ("__main__", get_config().lib_name))]
        else:
            kind, sig = "method" if "." in self.nm else "function", _signature(sym, "." in self.nm)
            if inspect.iscoroutinefunction(sym): options.append(":async:")
            if inspect.ismethod(self.given): options.append(":classmethod:")
        try:
            params = {} if inspect.isclass(sym) and "__init__" not in vars(sym) \
                else docments(sym, full=True, args_kwargs=True)
        except Exception: params = {}
        fields = []
        for name, info in params.items():
            text = " ".join(((info or {}).get("docment") or "").split())
            if text and text != "None" and name not in ("self", "cls"):
                fields.append(f":returns: {text}" if name == "return" else f":param {name}: {text}")
        parts = [f"{{py:{kind}}} {self.nm}{sig}\n" + "\n".join(options),
                 f"A kind of {', '.join(bases)}." if bases else "", self.docs or "", "\n".join(fields)]
        if inspect.isclass(sym) and issubclass(sym, Enum):
            parts.append("One of " + ", ".join(f"`{m.name}`" for m in sym) + ".")
        if inspect.isclass(sym): parts += members(sym, self.nm)
        text = "\n\n".join(p for p in parts if p)
        fence = "`" * (max([3, *map(len, re.findall(r"`{3,}", text))]) + 1)
        return f"{fence}{text}\n{fence}"


def members(cls, name):
    "Directives of the public methods that the body of `cls` defines; those with their own `show_doc` are dropped later"
    for k, v in list(vars(cls).items()):
        made = getattr(v, "fget", None) or getattr(v, "func", None) or getattr(v, "__func__", v)
        if k.startswith("_") or not inspect.isfunction(made) or made.__module__ != cls.__module__ \
            or not inspect.getdoc(made):
            continue
        if made.__qualname__ != f"{cls.__qualname__}.{k}": continue
        shown = MystRenderer(v if isinstance(v, property) else getattr(cls, k), name=f"{name}.{k}")._repr_markdown_()
        yield f"{MEMBER}{name}.{k}\n{shown}\n{MEMBER}"


# -- links ---------------------------------------------------------------------
class Links:
    "Turn nbdev's links, which are absolute, into references to what the pages really document"
    def __init__(self, base, documented):
        self.lookup, self.documented = NbdevLookup(), documented
        self.link = re.compile(r"\[`([^`\]]+)`\]\((" + re.escape(base) + r"/[^)\s]+)\)")
        self.names = {}
        for name, target in self.lookup.syms.items():
            if isinstance(target, tuple): self.names.setdefault(target[0], []).append(name)

    def add(self, text): return self.lookup.linkify(text or "") or ""

    def relative(self, text):
        def one(m):
            shown, url = m.groups()
            tail = "." + shown.removesuffix("()")
            for name in sorted(self.names.get(url, []), key=lambda n: (not ("." + n).endswith(tail), -len(n))):
                while name:  # fall back from a method to its class
                    if name in self.documented: return f"{{py:obj}}`{shown} <{name}>`"
                    name = name.rpartition(".")[0]
            return f"`{shown}`"
        return self.link.sub(one, text)


# -- cells ---------------------------------------------------------------------
CALLOUT = re.compile(r"^(:{3,})\s*\{\s*\.callout-(note|tip|warning|important|caution)([^}]*)\}\s*$")
OPTION = re.compile(r"^#\|\s*([\w-]+)\s*:\s*(.*?)\s*$")
TAGS = {("echo", "false"): "remove-input", ("output", "false"): "remove-output", ("include", "false"): "remove-cell",
        ("warning", "false"): "remove-stderr", ("code-fold", "true"): "hide-input"}


def text_of(x): return "".join(x) if isinstance(x, list) else (x or "")


def callouts(text):
    out, closing = [], []
    for line in text.splitlines():
        m = CALLOUT.match(line)
        if m:
            title = re.search(r'title="([^"]*)"', m[3])
            closing.append(m[1])
            out.append(f":::{{admonition}} {title[1]}\n:class: {m[2]}\n" if title else f":::{{{m[2]}}}")
        elif closing and line.strip() == closing[-1]: out.append(":::"); closing.pop()
        else: out.append(line)
    return "\n".join(out)


def split_options(src):
    keep, tags = [], []
    for line in src.splitlines():
        m = OPTION.match(line)
        if not m: keep.append(line)
        elif (tag := TAGS.get((m[1], m[2].strip("\"'").lower()))): tags.append(tag)
    return "\n".join(keep).strip("\n"), tags


def directive_in(cell):
    "The directive that a `show_doc` cell printed, if it is one"
    if cell["cell_type"] != "code" or not re.search(r"^show_doc\(", text_of(cell["source"]), re.M): return None
    for o in cell.get("outputs", []):
        text = text_of(o.get("data", {}).get("text/markdown"))
        if re.match(r"`{4,}\{py:", text): return text


def settle_members(pages):
    """Keep a class's members that have no `show_doc` of their own anywhere, take the marks away, and return every name
    that has a directive"""
    found = [(rel, o, doc) for rel, nb in pages.items() for c in nb["cells"] if (doc := directive_in(c))
             for o in c["outputs"] if "data" in o]
    own = {doc.partition("}")[2].split("(")[0].split()[0] for _, _, doc in found}
    block = re.compile(rf"{MEMBER}(\S+)\n(.*?)\n{MEMBER}", re.S)
    for _, o, _ in found:
        text = block.sub(lambda m: "" if m[1] in own else m[2], text_of(o["data"].get("text/markdown")))
        o["data"]["text/markdown"] = re.sub(r"\n{3,}", "\n\n", text)
        yield from ((rel, m[1], m[2]) for rel, p, _ in found if p is o
                    for m in re.finditer(r"^`+\{py:\w+\} ([\w.]+)[^\n]*\n:module: (\S+)",
                                         o["data"]["text/markdown"], re.M))


def in_order(cells, lines):
    "`cells`, where neighbouring directives stand in the order of the source (nbdev gives those of one cell backwards)"
    def line(c):
        name = directive_in(c).partition("}")[2].split("(")[0].split()[0]
        return lines.get(name, lines.get(name.rpartition(".")[2], 0))
    for shows, group in groupby(cells, key=lambda c: directive_in(c) is not None):
        yield from sorted(group, key=line) if shows else group


def lines_of(module, root):
    "Name -> line where `module` defines it; methods that are patched in count as `Class.method`"
    from nbdev.doclinks import patch_name
    path = root / (module.replace(".", "/") + ".py")
    nodes = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {}
    for node in nodes:
        if not isinstance(node, kinds): continue
        names = patch_name(node)
        found.update(dict.fromkeys([names] if isinstance(names, str) else names, node.lineno))
        if isinstance(node, ast.ClassDef):
            found.update({f"{node.name}.{n.name}": n.lineno for n in node.body if isinstance(n, kinds)})
    return found


def constants(module, documented, root):
    "Cell with what `module` makes public beside functions and classes: its assignments, with the comments beside them"
    path = root / (module.replace(".", "/") + ".py")
    code = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines, public, out = code.splitlines(), set(), []
    for node in ast.parse(code).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None: continue
        targets = getattr(node, "targets", None) or [node.target]
        single = {t.id for t in targets if isinstance(t, ast.Name)}
        for name in [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]:
            if name == "__all__": public = set(ast.literal_eval(node.value))
            if name not in public or f"{module}.{name}" in documented: continue
            documented.add(f"{module}.{name}")
            v = node.value
            value = "\n" if v.end_lineno > v.lineno else \
                lines[v.lineno - 1].encode()[v.col_offset:v.end_col_offset].decode()
            note = lines[node.end_lineno - 1][node.end_col_offset:].strip().lstrip("# ")
            short = name in single and "\n" not in value and len(value) < 72
            # else the option would be read as one quoted text
            if value.startswith(("'", '"')): value = json.dumps(value)
            out.append(f"```{{py:data}} {name}\n:module: {module}\n" + (f":value: {value}\n" if short else "")
                       + f"\n{note}\n```")
    return "## Constants\n\n" + "\n\n".join(out) if out else ""


def convert(nb, name, links, module, first):
    cells = []
    def markdown(src): cells.append(dict(cell_type="markdown", metadata={}, source=src))
    for c in nb["cells"]:
        src = text_of(c["source"])
        if c["cell_type"] == "raw":
            if not src.startswith("---"): continue
            fm = yaml.safe_load(src.strip().strip("-")) or {}
            parts = [f"# {fm.get('title', name)}"]
            if module: parts.append(f"```{{py:{'module' if first else 'currentmodule'}}} {module}\n```")
            if fm.get("description"): parts.append("{.lead}\n" + links.relative(links.add(fm["description"])))
            markdown("\n\n".join(parts))
        elif c["cell_type"] == "markdown":
            if not src.startswith("<!-- WARNING: THIS FILE WAS AUTOGENERATED"): markdown(links.relative(callouts(src)))
        elif (doc := directive_in(c)):
            markdown(links.relative(links.add(doc.replace(HERE, module or "").replace("__main__.", ""))))
        else:
            src, tags = split_options(src)
            outs = c.get("outputs", [])
            for o in outs:
                if "execution_count" in o: o["execution_count"] = None
                data = o.get("data", {})
                data.pop("application/vnd.jupyter.widget-view+json", None)  # the static text/html stays
                if "image/png" in data: data.pop("image/jpeg", None)
                if "text/markdown" in data: data["text/markdown"] = links.relative(text_of(data["text/markdown"]))
            cells.append(dict(cell_type="code", metadata={"tags": tags} if tags else {}, source=src,
                              outputs=outs, execution_count=None))
    for i, c in enumerate(cells): c["id"] = hashlib.sha256(f"{name}:{i}".encode()).hexdigest()[:8]
    return dict(cells=cells, nbformat=4, nbformat_minor=5,
                metadata={"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"},
                          "language_info": {"name": "python"}})


def contents(nbs, pages):
    "Cell with the contents that nbs/sidebar.yml lists; no notebook may be forgotten"
    listed = yaml.safe_load((nbs / "sidebar.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"]
    groups, seen = [("", [])], {"index.ipynb"}
    for o in listed:
        if isinstance(o, str): groups[0][1].append(o)
        else: groups.append((o["section"], ([o["href"]] if "href" in o else []) + list(o["contents"])))
    blocks = []
    for caption, items in groups:
        seen.update(items)
        names = [i.removesuffix(".ipynb") for i in items if i != "index.ipynb"]
        if names:
            blocks.append("\n".join(["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), "",
                                     *names, "```"]))
    if set(pages) ^ seen: raise SystemExit(f"nbs/sidebar.yml and the notebooks differ: {sorted(set(pages) ^ seen)}")
    return dict(cell_type="markdown", metadata={}, id="contents", source="\n\n".join(blocks))


def module_of(path, lib):
    "The module that the notebook at `path` exports to, if any"
    for c in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        m = c["cell_type"] == "code" and re.search(r"^\s*#\|\s*default_exp\s+(\S+)", text_of(c["source"]), re.M)
        if m: return f"{lib}.{m[1]}"


def mixed(cell):
    "Does `cell` import something and use something else too? Then it is an example or a test, and documents nothing"
    directives = cell.directives_ or {}
    if directives.keys() & {"export", "exports", "exporti", "exec_doc"} \
        or re.search(r"^show_doc", cell.source or "", re.M):
        return False
    return any(not isinstance(n, (ast.Import, ast.ImportFrom)) for n in cell.parsed_() or ())


def process(renderer=None):
    "Run nbdev's processing of every notebook, in this process; return the folder of the results"
    cfg = get_config()
    decide = processors._do_eval
    # nbdev would run mixed cells, out of their context
    processors._do_eval = lambda cell: not mixed(cell) and decide(cell)
    if renderer: cfg["renderer"] = renderer  # a dotted name, read by nbdev.showdoc.show_doc
    shutil.rmtree(Path(cfg.config_path) / "_proc", ignore_errors=True)
    try: return Path(proc_nbs(n_workers=0, force=True))
    finally: processors._do_eval = decide


def main(dest):
    cfg = get_config()
    nbs, dest = Path(cfg.nbs_path), Path(dest)
    sys.path.insert(0, str(Path(__file__).parent))
    proc = process("prepare.MystRenderer")
    files = sorted(proc.rglob("*.ipynb"))
    if not files:
        raise SystemExit("nbdev processed no notebook: "
                         "does the path of this checkout have a part that begins with a dot?")
    pages = {f.relative_to(proc): json.loads(f.read_text(encoding="utf-8")) for f in files}
    modules = {rel: module_of(nbs / rel, cfg.lib_name) for rel in pages}
    documented = {f"{module.replace(HERE, modules[rel] or '')}.{name}" for rel, name, module in settle_members(pages)}
    base = cfg.doc_host.rstrip("/") + "/" + cfg.doc_baseurl.strip("/")
    links, seen = Links(base.rstrip("/"), documented), set()
    shutil.rmtree(dest, ignore_errors=True)
    for rel, nb in pages.items():
        nb["cells"] = list(in_order(nb["cells"], lines_of(modules[rel] or "", Path(cfg.config_path))))
        new = convert(nb, rel.with_suffix("").as_posix(), links, modules[rel], modules[rel] not in seen)
        if modules[rel] and modules[rel] not in seen \
            and (text := constants(modules[rel], documented, Path(cfg.config_path))):
            new["cells"].append(dict(cell_type="markdown", metadata={}, id="constants", source=text))
        seen.add(modules[rel])
        if rel.as_posix() == "index.ipynb": new["cells"].append(contents(nbs, [p.as_posix() for p in pages]))
        out = dest / rel
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(new, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    for f in sorted(nbs.rglob("*")):  # pictures that the text shows
        rel = f.relative_to(nbs)
        if f.suffix.lower() in PICTURES and not any(p.startswith((".", "_")) for p in rel.parts):
            (dest / rel).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(f, dest / rel)
    return len(pages)

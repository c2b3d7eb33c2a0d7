"""README.md from the front-page notebook, without Quarto"""
import json, re
from pathlib import Path

import yaml
from nbdev.config import get_config

import prepare

NOTE = "<!-- Made from nbs/{nb} by `make docs`: edit the notebook, not this file. -->\n\n"


def output(o, name, i):
    "Markdown for one output; the plain text of a rich one is left out"
    if o["output_type"] == "stream": return "" if o["name"] == "stderr" else fenced(prepare.text_of(o["text"]))
    if o["output_type"] == "error": return fenced("\n".join(o["traceback"]))
    data = {k: prepare.text_of(v) for k, v in o["data"].items()}
    if "text/markdown" in data: return data["text/markdown"].strip()
    if "text/html" in data: # code hosts print a style sheet as text
        return re.sub(r"<style>.*?</style>|\n\s*(?=\n)", "", data["text/html"], flags=re.S).strip()
    if "image/png" in data or "image/svg+xml" in data:
        raise SystemExit(f"{name}: a README cannot hold the picture of cell {i}: "
                         f"save it under nbs/images/ and show it in text")
    return fenced(data.get("text/plain", ""))


def fenced(text, lang="text"): return f"```{lang}\n{text.rstrip()}\n```" if text.strip() else ""


def main():
    "The text of README.md, of the notebooks as `prepare.process` left them"
    cfg = get_config()
    proc = Path(cfg.config_path) / "_proc"
    nb = json.loads((proc / cfg.readme_nb).read_text(encoding="utf-8"))
    base = cfg.doc_host.rstrip("/") + "/" + cfg.doc_baseurl.strip("/") + "/"
    doc, nbs = Path(cfg.doc_path).name, Path(cfg.nbs_path).name
    parts = []
    for i, c in enumerate(nb["cells"]):
        src = prepare.text_of(c["source"])
        if c["cell_type"] == "raw":
            fm = yaml.safe_load(src.strip().strip("-")) or {}
            parts += [f"# {fm.get('title', cfg.lib_name)}", f"> {fm['description']}" if fm.get("description") else ""]
        elif c["cell_type"] == "markdown":
            if src.startswith("<!-- WARNING"): continue
            src = re.sub(r"^:{3,}\s*\{\s*\.callout-(\w+)[^}]*\}\s*\n(.*?)\n:{3,}\s*$",
                         lambda m: f"> [!{m[1].upper()}]\n" + "\n".join(f"> {l}".rstrip() for l in m[2].splitlines()),
                         src, flags=re.M | re.S)
            src = src.replace(base, f"{doc}/")                                     # links that nbdev made
            src = re.sub(r"\]\((?!\w+:|#|/)([\w./-]+)\.ipynb", rf"]({doc}/\1.html", src)   # links between notebooks
            src = re.sub(r"\]\((?!\w+:|#|/)(images/[^)\s]+)", rf"]({nbs}/\1", src)         # pictures
            parts.append(src.strip())
        else:
            src, tags = prepare.split_options(src)
            if src and not {"remove-input", "remove-cell"} & set(tags): parts.append(fenced(src, "python"))
            if not {"remove-output", "remove-cell"} & set(tags):
                parts += [output(o, cfg.readme_nb, i) for o in c.get("outputs", [])]
    return NOTE.format(nb=cfg.readme_nb) + "\n\n".join(p for p in parts if p) + "\n"

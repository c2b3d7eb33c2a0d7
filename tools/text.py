#!/usr/bin/env python
"""Notebooks as text and back, all in one process.

    python tools/text.py to [nbs/core.ipynb …]    # nbs/**/*.ipynb -> _text/**/*.py, in percent format
    python tools/text.py from                     # _text/**/*.py -> notebooks; cells that stay keep their id and output

Only what differs is written: a notebook whose text is as it was keeps every byte.
"""
import sys
from pathlib import Path

import jupytext

root = Path(__file__).resolve().parents[1]
NBS, TEXT = root / "nbs", root / "_text"


def notebooks():
    found = (p for p in sorted(NBS.rglob("*.ipynb")))
    return [p for p in found if not any(s.startswith((".", "_")) for s in p.relative_to(NBS).parts)]


def write(path, text):
    "Whether `path` had to be written"
    if path.exists() and path.read_text(encoding="utf-8") == text: return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def text_of(path): return jupytext.writes(jupytext.read(path), fmt="py:percent")


def to_text(paths):
    for path in paths: write(TEXT / path.relative_to(NBS).with_suffix(".py"), text_of(path))
    print(f"{len(paths)} notebook{'s'[:len(paths) != 1]} in _text/")


def from_text():
    changed = []
    for path in sorted(TEXT.rglob("*.py")):
        there = NBS / path.relative_to(TEXT).with_suffix(".ipynb")
        text = path.read_text(encoding="utf-8")
        if there.exists() and text_of(there) == text: continue
        if there.exists() and there.stat().st_mtime > path.stat().st_mtime:
            raise SystemExit(f"{there.relative_to(root)} changed after its text was made; keep your edits, "
                             f"make text NB={there.relative_to(root)}, and edit again")
        new = jupytext.reads(text, fmt="py:percent")
        if there.exists(): new = jupytext.combine.combine_inputs_with_outputs(new, jupytext.read(there), fmt="py:percent")
        else: new.metadata["kernelspec"] = dict(name="python3", display_name="python3", language="python")
        new.metadata.pop("jupytext", None)
        there.parent.mkdir(parents=True, exist_ok=True)
        jupytext.write(new, there)
        changed.append(there)
    print(f"{len(changed)} changed:", *[p.relative_to(root).as_posix() for p in changed])
    return changed


def clean(paths):
    from nbdev.clean import nbdev_clean
    for path in paths: nbdev_clean(str(path))


if __name__ == "__main__":
    what, *names = sys.argv[1:] or [""]
    if what == "to": to_text([Path(n).resolve() for n in names] or notebooks())
    elif what == "from": clean(from_text())
    else: raise SystemExit(__doc__)

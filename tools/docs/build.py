#!/usr/bin/env python
"""Render nbs/ to the static site in docs/ (no Quarto, no network), and README.md from the front page.

    python tools/docs/build.py           # write docs/ and README.md
    python tools/docs/build.py --check   # exit 1 when they are not what the notebooks give
"""
import argparse, atexit, filecmp, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

os.environ.update(PYTHONHASHSEED="0", SOURCE_DATE_EPOCH="0", TZ="UTC", LC_ALL="C.UTF-8", COLUMNS="88")
os.environ.pop("POD_ADDRESS", None)
# exported cells run here, and IPython and matplotlib write: not in the real home
scratch = Path(tempfile.mkdtemp(prefix="docs"))
atexit.register(shutil.rmtree, scratch, ignore_errors=True)  # before any import, so that it happens last
os.environ.update({k: str(scratch / k) for k in ("PYMEMRI_HOME", "MPLCONFIGDIR", "IPYTHONDIR")})
here = Path(__file__).resolve().parent
root = here.parents[1]
os.chdir(root)  # nbdev looks for settings.ini from here
sys.path[:0] = [str(here), str(root)]  # this checkout's package wins over an installed one

import links, prepare, readme  # noqa: E402

DROP = ("*.map", ".buildinfo", "_static/debug.css", "_static/file.png", "_static/plus.png", "_static/minus.png")


def sphinx(src, out, scratch):
    cmd = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", "-d", str(scratch), "-c",
           str(here), str(src), str(out)]
    if subprocess.run(cmd).returncode: raise SystemExit("sphinx failed (a warning counts)")


def finish(out):
    "Drop what nobody reads, and add the anchors that nbdev's own links use (`page.html#class.method`)"
    for pattern in DROP:
        for f in out.glob(pattern if "/" in pattern else f"**/{pattern}"): f.unlink()
    shutil.rmtree(out / "_sources", ignore_errors=True)  # empty
    (out / ".nojekyll").write_text("")
    prefix = re.compile(r'(<dt class="sig[^"]*" id="([\w.]+)">)')
    for f in sorted(out.rglob("*.html")):
        html = f.read_text(encoding="utf-8")
        module = re.search(r'id="module-([\w.]+)"', html)
        def one(m):
            name = m[2].removeprefix(module[1] + ".") if module else m[2]
            return f'{m[1]}<span id="{name.lower()}"></span>' if name.lower() != m[2] else m[1]
        f.write_text(prefix.sub(one, html), encoding="utf-8")


def differences(a, b):
    names = {p.relative_to(d).as_posix() for d in (a, b) for p in d.rglob("*") if p.is_file()}
    return sorted(n for n in names
                  if not ((a / n).is_file() and (b / n).is_file() and filecmp.cmp(a / n, b / n, shallow=False)))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(dir=scratch) as tmp:
        tmp = Path(tmp)
        n = prepare.main(tmp / "src")
        sphinx(tmp / "src", tmp / "html", tmp / "scratch")
        finish(tmp / "html")
        bad = list(links.problems(tmp / "html"))
        if bad: raise SystemExit("\n".join(bad))
        text = readme.main()
        docs, front = root / "docs", root / "README.md"
        if args.check:
            stale = [f"docs/{d}" for d in differences(tmp / "html", docs)]
            if not front.exists() or front.read_text(encoding="utf-8") != text: stale.append("README.md")
            if stale: raise SystemExit("out of date, run `make docs`:\n  " + "\n  ".join(stale))
            return print(f"docs/ and README.md are up to date ({n} notebooks)")
        shutil.rmtree(docs, ignore_errors=True)
        shutil.copytree(tmp / "html", docs)
        front.write_text(text, encoding="utf-8")
        size = sum(f.stat().st_size for f in docs.rglob("*") if f.is_file())
        print(f"{n} notebooks -> docs/ ({size / 1024:.0f} KiB)")


if __name__ == "__main__": main()

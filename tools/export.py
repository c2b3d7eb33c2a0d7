#!/usr/bin/env python
"""Make pymemri/ from nbs/, from scratch: no module outlives its notebook, and notebooks are left clean.

    python tools/export.py           # write what changed, delete what no notebook gives
    python tools/export.py --check   # write nothing; exit 1 when nbs/ or pymemri/ is not what an export gives

The work is done in a copy, so an export that fails half-way leaves the package as it was.
"""
import argparse, os, shutil, subprocess, sys, tempfile
from pathlib import Path

root = Path(__file__).resolve().parents[1]
STEPS = "from nbdev.doclinks import nbdev_export as e; from nbdev.clean import nbdev_clean as c; e(); c()"


def sources(base):
    "Relative path -> bytes of every notebook and module under `base`"
    found = [*base.glob("nbs/**/*.ipynb"), *base.glob("pymemri/**/*.py")]
    rels = (f.relative_to(base) for f in found)
    return {r.as_posix(): (base / r).read_bytes()
            for r in rels if not any(p.startswith((".", "_")) for p in r.parts[:-1])}


def exported(old, tmp):
    "What `old` becomes: its notebooks cleaned, and the modules that they give"
    for name, data in old.items():
        if name.startswith("nbs/") or name == "pymemri/__init__.py":
            (tmp / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp / name).write_bytes(data)
    shutil.copyfile(root / "settings.ini", tmp / "settings.ini")
    env = {k: v for k, v in os.environ.items() if k not in ("IN_TEST", "PYTHONPATH")}
    if subprocess.run([sys.executable, "-c", STEPS], cwd=tmp, env=env).returncode:
        raise SystemExit("the export failed; nothing was changed")
    return sources(tmp)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    old = sources(root)
    with tempfile.TemporaryDirectory(prefix="export") as tmp: new = exported(old, Path(tmp))
    if not any(n.startswith("pymemri/") and not n.endswith("__init__.py") for n in new):
        raise SystemExit(f"nbdev exported nothing: does the path {tempfile.gettempdir()} have a part that "
                         f"begins with a dot?")
    changed = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
    if args.check:
        if changed: raise SystemExit("not what the notebooks give, run `make lib`:\n  " + "\n  ".join(changed))
        subprocess.run([sys.executable, root / "tools/make_stubs.py", "--check"], cwd=root, check=True)
        return print(f"the export is clean ({sum(n.startswith('nbs/') for n in old)} notebooks)")
    for name in changed:
        path = root / name
        if name not in new: path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(new[name])
        print("removed" if name not in new else "wrote  ", name)
    subprocess.run([sys.executable, root / "tools/make_stubs.py"], cwd=root, check=True)


if __name__ == "__main__": main()

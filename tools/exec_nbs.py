#!/usr/bin/env python
"""Execute notebooks in place through a real Jupyter kernel, and leave only stable bytes behind.

    python tools/exec_nbs.py                 # every notebook under nbs/
    python tools/exec_nbs.py nbs/pod/*.ipynb # some
    python tools/exec_nbs.py --check         # run, compare with what is stored, write nothing

Cells marked `#| eval: false`, or with one of settings.ini's tst_flags, are not run and keep
the outputs they have.  Everything else is what a person gets from "Restart and run all".
Each notebook has a home, a Pod folder and a temporary folder of its own, which go when it ends: the real
ones are never touched, and settings of the person who runs it (POD_ADDRESS, matplotlibrc, …) have no effect.
"""
import argparse, difflib, os, re, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import clean_nb
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import extract_directives

WIDGET = "application/vnd.jupyter.widget-view+json"
ENV = dict(IN_TEST="1", PYTHONHASHSEED="0", TZ="UTC", LC_ALL="C.UTF-8", COLUMNS="88", SOURCE_DATE_EPOCH="0",
           PYDEVD_DISABLE_FILE_VALIDATION="1", JUPYTER_PREFER_ENV_PATH="1")
UNSET = re.compile(r"POD_|PYMEMRI_|XDG_|IPYTHON|JUPYTER_|MPL|PYTHON(PATH|STARTUP|WARNINGS|BREAKPOINT)$|PYTEST_|"
                   r"COVERAGE_|TQDM_")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Client(NotebookClient):
    skip_flags = frozenset()

    async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
        if cell.cell_type == "code":
            found = extract_directives(_Cell(cell), remove=False)
            if found.get("eval:", [""])[0].lower() == "false" or self.skip_flags & found.keys(): return cell
        return await super().async_execute_cell(cell, cell_index, *args, **kwargs)


class _Cell(dict):
    "Just enough of a cell for nbdev's directive parser"
    def __init__(self, c): super().__init__(c); self.source = c["source"]


def surroundings(scratch, name):
    "The environment of one notebook: nothing of the person who runs it, all folders under `scratch`"
    home = scratch / name
    for d in (home, home / "tmp"): d.mkdir(mode=0o700)
    path = os.pathsep.join(filter(None, [str(Path(get_config().config_path)), os.environ.get("PYTHONPATH")]))
    return {**{k: v for k, v in os.environ.items() if not UNSET.match(k)}, **ENV, "PYTHONPATH": path, "HOME": str(home),
            "USERPROFILE": str(home),
            "PYMEMRI_HOME": str(home / ".pymemri"), "TMPDIR": str(home / "tmp"), "IPYTHONDIR": str(home / ".ipython"),
            "JUPYTER_RUNTIME_DIR": str(scratch), "MPLCONFIGDIR": str(scratch / "mpl")}


def tidy(nb, root, home):
    "Remove from `nb` what would differ between two runs or two machines"
    cfg = get_config()
    clean_nb(nb, allowed_metadata_keys=cfg.allowed_metadata_keys.split(),
             allowed_cell_metadata_keys=cfg.allowed_cell_metadata_keys.split(), clean_ids=cfg.clean_ids)
    nb["metadata"].pop("widgets", None)  # random model ids; the static fallback is in text/html
    def text(s):
        for a, b in ((str(root), "."), (f"{home}/tmp", "/tmp"), (str(home), "~"), (str(Path.home()), "~")):
            if len(a) > 1: s = s.replace(a, b)
        return re.sub(r"ipykernel_\d+/\d+\.py", "ipykernel.py", s)
    for c in nb["cells"]:
        out = []
        for o in c.get("outputs", []):
            if o["output_type"] == "stream":
                o["text"] = text(ANSI.sub("", "".join(o["text"])))
                same = next((p for p in out if p["output_type"] == "stream" and p["name"] == o["name"]), None)
                if same is not None: same["text"] += o["text"]; continue  # how a stream is cut up is a race
            elif o["output_type"] == "error":
                o["traceback"] = [text(ANSI.sub("", t)) for t in o["traceback"]]
            else:
                data = o["data"]
                if 'class="pm-meter"' in data.get("text/html", ""): continue  # it is up to the clock whether one shows
                if WIDGET in data:
                    data.pop(WIDGET)
                    if "text/html" not in data and not data.get("text/plain", "").strip(): continue
                for k in data:
                    if k.startswith("text/") and isinstance(data[k], str): data[k] = text(data[k])
            out.append(o)
        if "outputs" in c: c["outputs"] = out
    return nb


def run(path, root, scratch, args):
    t, name = time.time(), path.relative_to(root).with_suffix("").as_posix().replace("/", "-")
    old = path.read_text(encoding="utf-8")
    nb = nbformat.reads(old, as_version=4)
    client = Client(nb, timeout=args.timeout, kernel_name="python3", record_timing=False,
                    extra_arguments=["--log-level=40"],
                    resources={"metadata": {"path": str(path.parent)}}, allow_errors=False)
    client.skip_flags = set(get_config().tst_flags.split()) - set(args.flags.split())
    try: client.execute(env=surroundings(scratch, name))
    except CellExecutionError as e: return path, time.time() - t, f"failed: {ANSI.sub('', str(e))}"
    except Exception as e: return path, time.time() - t, f"failed: {type(e).__name__}: {e}"
    new = nbformat.writes(tidy(nb, root, scratch / name)) + "\n"
    if new == old: return path, time.time() - t, None
    if args.check:
        d = difflib.unified_diff(old.splitlines(), new.splitlines(), "stored", "new run", lineterm="", n=1)
        return path, time.time() - t, "stored outputs differ from a fresh run:\n" \
            + "\n".join(o[:200] for o in list(d)[:60])
    path.write_text(new, encoding="utf-8")
    return path, time.time() - t, None


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("notebooks", nargs="*", type=Path)
    p.add_argument("--check", action="store_true")
    p.add_argument("--flags", default="")
    p.add_argument("--timeout", type=int, default=120)
    p.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    args = p.parse_args()
    root = Path(get_config().config_path).resolve()
    files = [f.resolve() for f in args.notebooks] or [Path(f).resolve() for f in nbglob(as_path=True).sorted()]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="nbs", ignore_cleanup_errors=True) as scratch, \
            ThreadPoolExecutor(args.jobs) as pool:
        scratch = Path(scratch).resolve()
        os.environ["JUPYTER_RUNTIME_DIR"] = str(scratch)  # where this process puts what tells it the kernel's ports
        # its font cache: once, and not as a warning in some notebook
        if any("matplotlib" in f.read_text(encoding="utf-8") for f in files):
            subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], stderr=subprocess.DEVNULL,
                           env={**os.environ, "MPLCONFIGDIR": str(scratch / "mpl")})
        for path, secs, err in pool.map(lambda f: run(f, root, scratch, args), files):
            print(f"{'FAIL' if err else 'ok  '} {path.relative_to(root)} ({secs:.1f}s)" + (f"\n{err}" if err else ""),
                  flush=True)
            bad += bool(err)
    print(f"{len(files) - bad} of {len(files)} notebooks ran clean")
    sys.exit(bool(bad))


if __name__ == "__main__": main()

"""Sphinx settings of the docs site.  All names and versions come from settings.ini."""
import ast, configparser
from pathlib import Path

root = Path(__file__).resolve().parents[2]
_ini = configparser.ConfigParser(delimiters=["="])
_ini.read(root / "settings.ini", encoding="utf-8")
cfg = _ini["DEFAULT"]

project = cfg["title"]
author = cfg["author"]
copyright = cfg["copyright"]
version = release = cfg["version"]
language = "en"

extensions = ["myst_nb", "sphinx_copybutton", "sphinx.ext.viewcode"]
source_suffix = {".ipynb": "myst-nb"}
root_doc = "index"

# the notebooks were run already; only show what they hold
nb_execution_mode = "off"
suppress_warnings = ["ref.python"]  # two classes of one name: annotations are written without their modules
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "image/svg+xml", 5), ("html", "text/html", 10), ("html", "image/png", 20)]
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "fieldlist",
                          "strikethrough", "tasklist"]
myst_heading_anchors = 3

add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
toc_object_entries = True
toc_object_entries_show_parents = "hide"
viewcode_line_numbers = True
viewcode_follow_imported_members = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = True
html_domain_indices = False
html_permalinks_icon = "#"

html_theme = "furo"
pygments_style, pygments_dark_style = "default", "github-dark"
_fonts = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
html_theme_options = dict(
    navigation_with_keys=True,
    light_css_variables={"color-brand-primary": "#3b5bdb", "color-brand-content": "#3b5bdb", "font-stack": _fonts},
    dark_css_variables={"color-brand-primary": "#91a7ff", "color-brand-content": "#91a7ff"},
)


def find_source(app, modname):
    "Source of `modname` and where its symbols are, `@patch`ed methods and properties too"
    from nbdev.doclinks import patch_name
    path = root / (modname.replace(".", "/") + ".py")
    if not path.is_file(): return None
    code, tags = path.read_text(encoding="utf-8"), {}
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    def add(name, node):
        start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        tags[name] = ("class" if isinstance(node, ast.ClassDef) else "def", start, node.end_lineno)
    for node in ast.parse(code).body:
        if not isinstance(node, kinds): continue
        names = patch_name(node)
        for name in [names] if isinstance(names, str) else names: add(name, node)
        if isinstance(node, ast.ClassDef):
            for sub in node.body:
                if isinstance(sub, kinds): add(f"{node.name}.{sub.name}", sub)
    return code, tags


def flat_contents(app, pagename, templatename, context, doctree):
    """The sidebar lists pages, so it is made of pages: to copy every heading of every page for each page, and drop
    them then, took most of the build"""
    whole = context["toctree"]
    context["toctree"] = lambda **how: whole(**how | dict(maxdepth=1))


def setup(app):
    app.connect("html-page-context", flat_contents, priority=1)
    app.connect("viewcode-find-source", find_source)

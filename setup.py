"""Packaging for the notebook-generated library: every value lives in settings.ini."""
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="], comment_prefixes=("#", ";"))
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
readme = here / "README.md"

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    keywords=cfg["keywords"].split(),
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=["Programming Language :: Python :: 3." + minor for minor in ("11", "12", "13")] + ["Typing :: Typed"],
    python_requires=">=" + cfg["min_python"],
    packages=find_packages(include=[cfg["lib_name"], cfg["lib_name"] + ".*"]),
    package_data={cfg["lib_name"]: ["py.typed", "**/*.pyi", "**/*.json", "**/*.css", "**/*.js", "**/*.html", "**/*.svg",
                                    "**/*.cvu", "**/*.tmpl"]},
    install_requires=cfg.get("requirements", "").split(),
    extras_require={"dev": cfg.get("dev_requirements", "").split(),
                    **{name: [what] for name, _, what in (e.partition(":") for e in cfg.get("extras", "").split())}},
    entry_points={
        "console_scripts": cfg.get("console_scripts", "").split(),
        # lets nbdev resolve `Symbol` to its page: needed for cross-links
        "nbdev": ["{0}={0}._modidx:d".format(cfg["lib_path"])],
    },
    zip_safe=False,
)

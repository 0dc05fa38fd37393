"""Sphinx extension: macros.tex for MathJax and LaTeX, MathJax from disk, no Thebe."""

import hashlib
import re
from importlib.metadata import distribution
from pathlib import Path

BUNDLE = "tex-svg-full.js"  # every TeX package inside, glyphs as paths: one request
DIGEST = "a4354ff94fd868aea0cc6eaaa79a57fda0588646fc46ee3700a349ee0a11cbe6"
LINE = re.compile(
    r"\\newcommand\{\\(?P<name>[A-Za-z]+)\}(\[(?P<n>\d)\](\[(?P<default>[^]]*)\])?)?"
    r"\{(?P<body>.*)\}$"
)


def macro_lines(path):
    """The ``\\newcommand`` lines of a macro file, without comments and blanks."""
    lines = map(str.strip, Path(path).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("%")]


def read_macros(path):
    """Macros as MathJax wants them: name -> body or [body, n] or [body, n, default]."""
    macros = {}
    for line in macro_lines(path):
        m = LINE.match(line)
        if not m or m["name"] in macros:
            raise ValueError(f"{path}: not one \\newcommand, or a second one: {line!r}")
        default = [] if m["default"] is None else [m["default"]]
        macros[m["name"]] = [m["body"], int(m["n"]), *default] if m["n"] else m["body"]
    return macros


def bundle():
    """Path of MathJax 3.2.2 in the package that carries it, its digest checked."""
    folder = distribution("sphinx-mathjax-offline").locate_file(
        "sphinx-mathjax-offline/static/mathjax"
    )
    path = Path(folder) / BUNDLE
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != DIGEST:
        raise ValueError(f"{path}: expected sha256 {DIGEST}, found {found}")
    return path


def configure(app, config):
    source = Path(app.srcdir) / "macros.tex"
    # Without noundefined an unknown macro is an error node that check_book counts;
    # with it, the name is printed in red and nobody is told.
    config.mathjax3_config = {
        "tex": {
            "macros": read_macros(source),
            "packages": {"[-]": ["noundefined"]},
        }
    }
    config.mathjax_path = f"mathjax/{BUNDLE}"
    config.latex_elements = {"preamble": source.read_text()}
    config.html_static_path.append(str(Path(__file__).parent / "static"))


def copy_mathjax(app, exception):
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "mathjax" / BUNDLE
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bundle().read_bytes())


def drop_thebe(app, pagename, templatename, context, doctree):
    def is_thebe(script):
        body = getattr(script, "attributes", {}).get("body") or ""
        name = str(getattr(script, "filename", script))
        return "thebe" in name or "THEBE_JS_URL" in body

    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if not is_thebe(s)]


def setup(app):
    app.connect("config-inited", configure)
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.add_css_file("book.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}

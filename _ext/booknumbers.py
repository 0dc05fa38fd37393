"""Sphinx extension: a chapter's number is that of its file, 06-x.ipynb being 6.

An edition without all chapters would else count 1, 2, 3, and every reference would
change its number when a chapter is added in front of it.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.environment.collectors.toctree import TocTreeCollector


def number_of(docname):
    """6 for chapters/06-x, None for a page without a number."""
    found = re.match(r"\d+(?=-)", Path(docname).name)
    return int(found[0]) if found else None


def renumber(env):
    """Put the file's number in place of the counted one, everywhere it is kept."""
    for docname, numbers in env.toc_secnumbers.items():
        chapter = number_of(docname)
        if chapter is None:
            continue
        for anchor, number in numbers.items():
            numbers[anchor] = (chapter, *number[1:]) if number else number
        shown = [env.titles[docname], *env.tocs[docname].findall(nodes.reference)]
        for node in shown:
            if node.get("secnumber"):
                node["secnumber"] = [chapter, *node["secnumber"][1:]]


def install(app):
    """Renumber between the counting of sections and that of figures and equations."""
    count = TocTreeCollector.assign_figure_numbers
    if getattr(count, "by_file", False):
        return

    def assign(self, env):
        renumber(env)
        return count(self, env)

    assign.by_file = True
    TocTreeCollector.assign_figure_numbers = assign


def setup(app):
    app.connect("builder-inited", install)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

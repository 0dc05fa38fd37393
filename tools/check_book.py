"""Open every page of the built book in headless Chromium: check_book.py [_build/html].

A page fails when a formula is not typeset, something is asked from outside the book,
a script fails, a picture is missing or has no alt text, or the page is wider than a
phone. With --shots DIR each page is also photographed, 390, 1280 and 1440 px wide,
light and dark.

Before that, and without a browser, every link inside the book has to lead somewhere,
and from the chapter of each claim one click to its entry in the ledger, and from there
one to the source of its checks.
"""

import argparse
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, WIDTHS = 390, (390, 1280, 1440)
PROBE = r"""async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const all = s => [...document.querySelectorAll(s)];
  const raw = [];
  const article = document.querySelector("article") || document.body;
  const walk = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  const inert = "pre, code, script, style, mjx-container, .math, dt.sig";
  for (let n = walk.nextNode(); n; n = walk.nextNode())
    if (!n.parentElement.closest(inert) &&
        /\$[^$\s][^$]*\$|\\[A-Za-z]+\{|\{(prf:)?(ref|eq|numref|doc|cite)/.test(n.data))
      raw.push(n.data.trim().slice(0, 80));
  return {
    wanted: all("span.math, div.math").length,
    typeset: all("mjx-container").length,
    "TeX error": all("[data-mml-node=merror]").map(
      e => e.getAttribute("data-mjx-error") || e.textContent),
    "raw markup": raw,
    "no alt text": all("article .cell_output img, article figure img, article img")
      .filter(i => !i.alt).map(i => i.getAttribute("src").slice(0, 60)),
    "broken picture": all("img").filter(i => i.complete && i.naturalWidth === 0)
      .map(i => i.getAttribute("src").slice(0, 60)),
    width: document.scrollingElement.scrollWidth,
  };
}"""
LISTS = ("TeX error", "raw markup", "no alt text", "broken picture")


def chromium():
    """Path of the system's Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def pages(root):
    """Every page a reader can open; index.html only redirects, _modules hold code."""
    found = sorted(Path(root).resolve().rglob("*.html"))
    return [p for p in found if p.name != "index.html" and "_static" not in p.parts]


class Anchors(HTMLParser):
    """The ids of a page, and its links in the order of the text."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found.get("id"), found.get("name")} - {None}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


def anchors(root):
    return {p: Anchors(p.read_text()) for p in pages(root)}


def dead_links(root, found):
    """Links of a page to a file or anchor of the book that is not there.

    Pages of code are left out: viewcode's way back misses what is re-exported.
    """
    root = Path(root).resolve()
    for page, one in found.items():
        if "_modules" in page.parts:
            continue
        for link in dict.fromkeys(one.links):
            if re.match(r"[a-z]+:|#?$", link):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = (page.parent / path).resolve() if path else page
            wanted = anchor if target in found else ""
            if not target.exists() or (wanted and wanted not in found[target].ids):
                yield f"{page.relative_to(root)}: dead link: {link}"


ENTRY = re.compile(r'id="claim-(t\d+)"(.*?)(?=id="claim-t|\Z)', re.S)
CLAIM_CHAPTER = re.compile(r'href="([^"#]+\.html)"><span class="doc">')
SOURCE = re.compile(r'href="[^"]*_modules/[^"]+#t\d+"')


def ledger_paths(root, found):
    """Claims that a chapter does not lead to, or whose entry leads to no source."""
    ledger = Path(root).resolve() / "chapters" / "ledger.html"
    entries = ENTRY.findall(ledger.read_text()) if ledger.exists() else []
    if not entries:
        yield "chapters/ledger.html: no entry of a claim"
    for id, text in entries:
        if not SOURCE.search(text):
            yield f"chapters/ledger.html: {id.upper()} has no link to its source"
        chapter = CLAIM_CHAPTER.search(text)
        if not chapter:
            yield f"chapters/ledger.html: {id.upper()} names no chapter"
        elif f"ledger.html#claim-{id}" not in found[ledger.parent / chapter[1]].links:
            yield f"chapters/{chapter[1]}: no link to {id.upper()} in the ledger"


def check_links(root):
    found = anchors(root)
    return [*dead_links(root, found), *ledger_paths(root, found)]


def watch(tab, name, problems):
    """Note script errors and requests, and let none out."""

    def route(handler):
        url = handler.request.url
        if url.startswith(("file:", "data:", "blob:")):
            return handler.continue_()
        problems.append(f"{name}: outside request: {url}")
        return handler.abort()

    tab.route("**/*", route)
    tab.on("pageerror", lambda e: problems.append(f"{name}: script error: {e}"))
    tab.on("requestfailed", lambda r: problems.append(f"{name}: no answer: {r.url}"))


def judge(name, found, is_code):
    """Problems in what the probe found on one page."""
    yield from (f"{name}: {kind}: {x}" for kind in LISTS for x in found[kind])
    if found["typeset"] != found["wanted"] and not is_code:
        yield f"{name}: {found['wanted']} formulas, {found['typeset']} typeset"
    if found["width"] > PHONE:
        yield f"{name}: {found['width']} px wide on a screen of {PHONE} px"


def inspect(browser, page, root):
    """(problems, number of formulas typeset) of one page."""
    name, problems = page.relative_to(Path(root).resolve()), []
    tab = browser.new_page(viewport={"width": PHONE, "height": 844})
    watch(tab, name, problems)
    tab.goto(page.as_uri(), wait_until="load")
    found = tab.evaluate(PROBE)
    tab.close()
    problems += judge(name, found, "_modules" in page.parts)
    return problems, found["typeset"]


def photograph(browser, page, folder):
    """PNG files of one page, in every width, light and dark."""
    for mode in ("light", "dark"):
        for width in WIDTHS:
            tab = browser.new_page(viewport={"width": width, "height": 900})
            tab.add_init_script(
                f"localStorage.setItem('mode', '{mode}');"
                f"localStorage.setItem('theme', '{mode}')"
            )
            tab.goto(page.as_uri(), wait_until="load")
            tab.evaluate(PROBE)
            path = Path(folder) / f"{page.stem}-{width}-{mode}.png"
            tab.screenshot(path=path, full_page=True)
            tab.close()


def check(root, shots=None, only=""):
    """(problems, pages, formulas) of a built book."""
    from playwright.sync_api import sync_playwright

    problems, formulas = [], 0
    chosen = [p for p in pages(root) if only in p.stem]
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=FLAGS)
        for page in chosen:
            found, typeset = inspect(browser, page, root)
            problems, formulas = problems + found, formulas + typeset
            if shots:
                photograph(browser, page, shots)
        browser.close()
    return problems, len(chosen), formulas


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", default="_build/html")
    parser.add_argument("--shots", metavar="DIR", help="write pictures of the pages")
    parser.add_argument("--only", default="", help="pages whose name contains this")
    args = parser.parse_args()
    links = check_links(args.root) if pages(args.root) else []
    if not chromium():
        print(*links, sep="\n", end="\n" if links else "")
        print("skipped: no Chromium found (Debian: apt-get install chromium)")
        return 1 if links or os.environ.get("CI") else 0
    problems, count, formulas = check(args.root, args.shots, args.only)
    problems = links + problems
    if not count:
        problems.append(f"{args.root}: no page there: run `make book` first")
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{count} pages, {formulas} formulas typeset, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Open every page of the built book in headless Chromium: check_book.py [_build/html].

A page fails when a formula is not typeset, something is asked from outside the book,
a script fails, a picture is missing or has no alt text, or the page is wider than a
phone. With --shots DIR each page is also photographed, 390, 1280 and 1440 px wide,
light and dark.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

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
    if not chromium():
        print("skipped: no Chromium found (Debian: apt-get install chromium)")
        return 1 if os.environ.get("CI") else 0
    problems, count, formulas = check(args.root, args.shots, args.only)
    if not count:
        problems.append(f"{args.root}: no page there: run `make book` first")
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{count} pages, {formulas} formulas typeset, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

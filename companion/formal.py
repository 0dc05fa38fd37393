"""The algebra in formal/, checked by Rocq's kernel: which lemma serves which claim.

`python companion/formal.py` compiles every file and prints what each lemma assumes; it
needs coqc and MathComp's algebra, and no Python package.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "formal"
BUILD = ROOT / "_build" / "formal"
NO_AXIOM = "Closed under the global context"
# A comment that begins with claims stands right before the lemma that it explains.
LEMMA = re.compile(
    r"\(\* (?P<claims>T\d+(?:, T\d+)*): (?P<gloss>(?:(?!\*\)).)+?) \*\)\n"
    r"(?P<statement>Lemma (?P<name>\w+).+?\.)\nProof\.",
    re.DOTALL,
)


@dataclass(frozen=True)
class Lemma:
    """A lemma with the claims that it serves, in words and in Rocq."""

    name: str
    claims: tuple[str, ...]
    gloss: str
    statement: str
    file: str
    line: int  # of the statement


def files() -> list[Path]:
    """The sources, in the order in which they build on each other."""
    lines = (SOURCES / "_CoqProject").read_text(encoding="utf-8").split()
    return [SOURCES / name for name in lines if name.endswith(".v")]


def lemmas() -> tuple[Lemma, ...]:
    """Every lemma of formal/, in order; read from the sources, so no Rocq is needed.

    >>> next(lemma.claims for lemma in lemmas() if lemma.name == "sylvester")
    ('T8',)
    """
    return tuple(
        Lemma(
            name=found["name"],
            claims=tuple(found["claims"].split(", ")),
            gloss=" ".join(found["gloss"].split()),
            statement=found["statement"],
            file=path.name,
            line=text.count("\n", 0, found.start("statement")) + 1,
        )
        for path in files()
        for text in [path.read_text(encoding="utf-8")]
        for found in LEMMA.finditer(text)
    )


def kernel_checked() -> dict[str, tuple[str, ...]]:
    """The lemmas of each claim that has any, in the order of the claims.

    >>> "sylvester" in kernel_checked()["T8"]
    True
    """
    table: dict[str, list[str]] = {}
    for lemma in lemmas():
        for claim in lemma.claims:
            table.setdefault(claim, []).append(lemma.name)
    return {c: tuple(table[c]) for c in sorted(table, key=lambda c: int(c[1:]))}


def coqc(source: Path) -> subprocess.CompletedProcess[str]:
    """Compile one file beside what its folder holds already; nothing is raised."""
    options = ["-R", ".", "Formal", "-w", "-notation-overridden,-ambiguous-paths"]
    return subprocess.run(
        ["coqc", *options, source.name],
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def build(folder: Path = BUILD) -> None:
    """Compile copies of all sources in `folder`; `RuntimeError` if one fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in files():
        done = coqc(Path(shutil.copy(path, folder)))
        if done.returncode:
            raise RuntimeError(f"{path.name} does not compile\n{done.stderr}")


def assumptions(folder: Path = BUILD) -> dict[str, str]:
    """What each lemma rests on, in Rocq's words, by name; `folder` holds a build."""
    script = [f"From Formal Require {path.stem}." for path in files()]
    for lemma in lemmas():
        script += [
            f'Goal True. idtac "@{lemma.name}". Abort.',
            f"Print Assumptions {lemma.file.removesuffix('.v')}.{lemma.name}.",
        ]
    query = folder / "assumptions.v"
    query.write_text("\n".join(script) + "\n", encoding="utf-8")
    done = coqc(query)
    if done.returncode:
        raise RuntimeError(done.stderr)
    answers = (answer.partition("\n") for answer in done.stdout.split("@")[1:])
    return {name: " ".join(words.split()) for name, _, words in answers}


def main() -> str | None:
    """Compile, print claim, lemma and assumptions; the reason if a lemma has any."""
    if not shutil.which("coqc"):
        return "coqc is missing (Debian: coq and libcoq-mathcomp-algebra)"
    try:
        build()
        rests_on = assumptions()
    except RuntimeError as error:
        return str(error)
    for lemma in lemmas():
        print(f"{', '.join(lemma.claims):14} {lemma.name:32} {rests_on[lemma.name]}")
    print(f"{len(rests_on)} lemmas, {len(kernel_checked())} claims")
    bad = [name for name, words in rests_on.items() if words != NO_AXIOM]
    return f"with assumptions: {', '.join(bad)}" if bad else None


if __name__ == "__main__":
    sys.exit(main())

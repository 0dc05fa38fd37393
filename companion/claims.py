"""The ledger: every claim with its statement, verdict and checks; `show` and `verify`.

The ledger page, the errata page and ``fimlib verify`` all come from these records.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

import torch

from companion import chapters, proof
from companion.evidence import modules
from companion.evidence.ledger import Claim, claims_of
from companion.proof.page import Markdown, derivation_markdown
from companion.proof.render import step_tex

VERSIONS = ("numpy", "torch", "sympy", "scipy", "mpmath")


@functools.cache
def all_claims() -> dict[str, Claim]:
    """Every claim by its id, in the order of the book."""
    found = [c for module in modules() for c in claims_of(module)]
    if len({c.id for c in found}) != len(found):
        raise ValueError("two claims have the same id")
    return {c.id: c for c in sorted(found, key=lambda c: int(c.id[1:]))}


def select(ids=()) -> list[Claim]:
    """The claims named (all if none is); an unknown name lists the valid ones."""
    known = all_claims()
    unknown = [i for i in ids if i.upper() not in known]
    if unknown:
        raise ValueError(
            f"unknown claim {', '.join(unknown)}; the ledger has {', '.join(known)}"
        )
    return [known[i.upper()] for i in ids] if ids else list(known.values())


def check(claim: Claim) -> proof.Report:
    """Decide every line, numeric check and mutant of a claim.

    The lines stand in its chapter's cells or, until they do, with its evidence.
    """
    with one_thread():
        report = proof.run(claim.derive(), claim.id)
        if report.steps:
            return report
        found = chapters.derivations(claim.chapter)
    own = [d.report for d in found if d.claim == claim.id]
    steps = [pair for r in own for pair in r.steps]
    mutants = [pair for r in own for pair in r.mutants]
    return replace(report, steps=steps, mutants=mutants + report.mutants)


@contextlib.contextmanager
def one_thread():
    """Torch on one thread: the problems are tiny, and threads would only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def show(id: str) -> Markdown:
    """The evidence for a claim, folded; above it the lines that stand in no cell."""
    (claim,) = select([id])
    with one_thread():
        return Markdown(derivation_markdown(proof.run(claim.derive(), claim.id)))


def ledger(ids=()) -> Markdown:
    """The table of the claims: title, verdict, and how strong the checks are."""
    rows = [
        "| claim | verdict | steps | checks | mutants rejected |",
        "|:---|:---|:---|:---|:---|",
    ]
    for claim in select(ids):
        report = check(claim)
        cells = (
            f"**{claim.id}** [{claim.title}]({claim.chapter}.ipynb)",
            claim.verdict,
            _tally(report.steps),
            _tally(report.checks),
            f"{sum(o.ok for _, o in report.mutants)} of {len(report.mutants)}",
        )
        rows.append("| " + " | ".join(cells) + " |")
    return Markdown("\n".join(rows))


def _tally(outcomes):
    """Counts by kind, failures named: "4 all dimensions"."""
    kinds = {}
    for _, o in outcomes:
        key = o.kind if o.ok else f"FAILED {o.kind}"
        key = "not decided (records not found)" if o.absent else key
        kinds[key] = kinds.get(key, 0) + 1
    return ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"


def verify(ids=(), progress=lambda claim: None) -> dict:
    """Run the ledger; a record of every step, check and mutant, ready for JSON."""
    start = time.perf_counter()
    entries = []
    for claim in select(ids):
        progress(claim)
        began = time.perf_counter()
        report = check(claim)
        entries.append(entry(claim, report, time.perf_counter() - began))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in VERSIONS},
        "seconds": round(time.perf_counter() - start, 2),
        "claims": entries,
    }


def entry(claim: Claim, report: proof.Report, seconds: float = 0.0) -> dict:
    """What the record of a run says of one claim."""
    steps = [
        {
            "statement": step_tex(s),
            "reason": s.because,
            "kind": o.kind,
            "ok": o.ok,
            "detail": o.detail,
        }
        for s, o in report.steps
    ]
    checks = [
        {"name": c.name, "kind": o.kind, "ok": o.ok, "detail": o.detail} | _absence(o)
        for c, o in report.checks
    ]
    mutants = [
        {"name": m.name, "rejected": o.ok, "detail": o.detail} | _absence(o)
        for m, o in report.mutants
    ]
    return {
        "id": claim.id,
        "title": claim.title,
        "verdict": claim.verdict,
        "status": _status(report),
        "chapter": claim.chapter,
        "labels": list(claim.labels),
        "source": f"{claim.derive.__module__}.{claim.derive.__name__}",
        "strength": _strength(report),
        "seconds": round(seconds, 2),
        "steps": steps,
        "checks": checks,
        "mutants": mutants,
    }


def _strength(report):
    """The kinds of proof and evidence that hold, the strongest first."""
    found = {o.kind for _, o in (*report.steps, *report.checks) if o.ok}
    return sorted(found - {proof.DEFINITION}, key=proof.KINDS.index)


def _status(report):
    """pass, fail, or no records: nothing failed, but not everything was decided."""
    if not report.ok:
        return "fail"
    return "no records" if report.absent else "pass"


def _absence(outcome):
    return {"absent": True} if outcome.absent else {}

"""Values of formulas on random matrices: counterexamples, and a second opinion.

Nothing here uses the normal forms: a formula's tree is evaluated with numpy, on
matrices of random sizes that satisfy what their symbols promise (symmetric, positive
definite, a given expectation). A proved equality must also hold here.
"""

from __future__ import annotations

import functools

import mpmath
import numpy as np
import sympy

from companion.proof import arrays, laws
from companion.proof import formula as f
from companion.proof.instances import DECADES, EDGES, OUTCOMES, PLAIN, Instance
from companion.proof.instances import as_numbers as as_numbers
from companion.proof.points import to_number

WORLDS = 6 * (PLAIN,) + 4 * (DECADES,) + 3 * (EDGES,)
ATTEMPTS = 8  # to find values, of given sizes, for which the premises hold
LAWS = 12  # joint laws that entropies are compared on


def value(e, world):
    """Value of a formula in an `Instance`: a number or a 2-D array."""
    key = id(e), world.outcome
    if key not in world.known:
        result = _value(e, world)
        if e.shape == f.SCALAR:
            result = np.asarray(result).reshape(()).item()
        world.known[key] = e, result  # e, so that its id stays its own
    return world.known[key][1]


def _value(e, world):
    match e:
        case f.Const():
            return _constant(e.value, world)
        case f.Sym():
            return world.draw(e, lambda: value(e.mean, world))
        case f.Let():
            return value(e.definition, world)
        case f.Eye():
            return world.numbers(np.eye(world.size(e.size)))
        case f.Zero():
            return world.numbers(np.zeros((world.size(e.rows), world.size(e.cols))))
        case f.Add():
            return sum(value(t, world) for t in e.terms)
        case f.Mul():
            return _product(e.factors, world)
        case f.Transpose():
            return np.atleast_2d(value(e.arg, world)).T
        case f.Inv():
            inner = value(e.arg, world)
            return 1 / inner if e.shape == f.SCALAR else arrays.inverse(inner)
        case f.Det():
            return arrays.det(np.atleast_2d(value(e.arg, world)))
        case f.Tr():
            return np.trace(np.atleast_2d(value(e.arg, world)))
        case f.Log():
            if isinstance(e.arg, f.Det):
                return arrays.log_det(np.atleast_2d(value(e.arg.arg, world)))
            return arrays.log(value(e.arg, world))
        case f.Block():
            rows = [[np.atleast_2d(value(b, world)) for b in row] for row in e.rows]
            return np.block(rows)
        case f.Mean():
            return _mean(e.arg, world)
    return e.evaluate(world)  # a leaf that another module adds


@functools.lru_cache(maxsize=4096)
def _compiled(e):
    symbols = sorted(e.free_symbols, key=str)
    return symbols, sympy.lambdify(symbols, e, "mpmath")


def _constant(e, world):
    if e.is_Symbol:
        return world.scalar(e)
    if e.is_Rational:
        number = to_number(e)
    else:
        symbols, function = _compiled(e)
        number = function(*(mpmath.mpf(world.scalar(s)) for s in symbols))
    return number if world.exact else float(number)


def _product(factors, world):
    """Left to right; a stretch whose shape closes to 1 x 1 is a scalar.

    Shapes are the formula's, not the arrays': a D x D matrix stays one if D is 1.
    """
    coefficient, out, rows = 1, None, None
    for e in factors:
        x = value(e, world)
        if e.shape == f.SCALAR:
            coefficient *= x
            continue
        out, rows = (x, e.shape[0]) if out is None else (out @ x, rows)
        if rows == 1 and e.shape[1] == 1:
            coefficient, out = coefficient * out.item(), None
    return coefficient if out is None else out * coefficient  # arrays first


def _mean(arg, world):
    total, outside = 0, world.outcome
    for outcome in range(OUTCOMES):
        world.outcome = outcome
        total = total + value(arg, world) * world.weights[outcome]
    world.outcome = outside
    return total


def compare(lhs, rhs, relation, rng, premises=(), trials=None):
    """First random instance in which the relation fails, or None.

    `relation` is "=", "<=", ">=" for scalars, "=" or ">=" (Loewner order) for matrices.
    Residuals are relative to the size of the two sides. An instance in which a premise
    does not hold says nothing; if none is found for most choices of sizes, ValueError.
    """
    names, tried, held = counted_sizes(lhs, rhs), 0, 0
    with mpmath.workdps(arrays.DIGITS):
        for start in worlds(lhs, rhs, rng, premises, trials):
            tried += 1
            for name in names:
                start.size(name)
            world = satisfying(start, premises, rng)
            if world is None:
                continue
            held += 1
            left, right = value(lhs, world), value(rhs, world)
            gap, size = np.atleast_1d(left - right), _size(left) + _size(right)
            slack = 1e-8 * (1 + size)
            if world.exact:
                slack = mpmath.mpf(10) ** -40 * size + mpmath.mpf(10) ** -60
            if _fails(gap, relation, slack):
                return f"{describe(world)}: {short(left)} against {short(right)}"
    if 2 * held < tried:
        raise ValueError("the premises hardly ever hold")
    return None


def worlds(lhs, rhs, rng, premises, trials):
    """Instances to compare in, with joint laws if there are entropies."""
    drawn = laws.laws_for((lhs, rhs), premises, rng, trials or LAWS)
    regimes = (PLAIN,) * len(drawn) if drawn else WORLDS[:trials]
    for k, regime in enumerate(regimes):
        world = fresh(rng, regime)
        world.law = drawn[k] if drawn else None
        yield world


def fresh(rng, regime, sizes=()):
    return Instance(np.random.default_rng(rng.integers(2**63)), regime, dict(sizes))


def satisfying(world, premises, rng):
    """A world of these sizes in which the premises hold, or None if none is found."""
    for _ in range(ATTEMPTS):
        if all(satisfied(p, world) for p in premises):
            return world
        world = fresh(rng, world.regime, world.sizes)
    return None


def satisfied(premise, world):
    """Does a premise hold in this instance?"""
    if not hasattr(premise, "holds"):
        return True
    return premise.holds(world)


def _size(x):
    return np.abs(np.atleast_1d(x)).max()


def counted_sizes(*formulas):
    """Sizes that also stand as scalars, as in D log 2: to be drawn first, as sizes."""
    found = list(f.subtrees(formulas))
    scalars = {s.name for e in found for s in _symbols(e)}
    sizes = {part for e in found for n in e.shape for part in str(n).split("+")}
    return sorted(scalars & sizes)


def _symbols(e):
    return e.value.free_symbols if isinstance(e, f.Const) else ()


def _fails(gap, relation, slack):
    if not all(mpmath.isfinite(x) for x in gap.flat):
        return True
    if relation == "=":
        return np.abs(gap).max() > slack
    gap = gap if relation == ">=" else -gap
    return not arrays.is_psd(gap, slack) if gap.ndim == 2 else gap[0] < -slack


def describe(world):
    sizes = ", ".join(f"{k}={v}" for k, v in sorted(world.sizes.items()))
    return f"at {sizes}" if sizes else "at a random point"


def short(x):
    return (
        f"{float(x):.4g}"
        if np.ndim(x) == 0
        else np.array2string(np.asarray(x, dtype=float), precision=3)
    )

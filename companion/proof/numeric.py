"""Values of formulas on random matrices: counterexamples, and a second opinion.

Nothing here uses the normal forms: a formula's tree is evaluated with numpy, on
matrices of random sizes that satisfy what their symbols promise (symmetric, positive
definite, a given expectation). A proved equality must also hold here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import sympy

from companion.proof import formula as f

SIZES = (1, 2, 3, 5, 7)
OUTCOMES = 3  # values that a random symbol takes


@dataclass
class Instance:
    """One random world: sizes, scalars and matrices are drawn when first met."""

    rng: np.random.Generator
    sizes: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    outcome: int = 0

    def __post_init__(self):
        self.weights = self.rng.dirichlet(np.ones(OUTCOMES))

    def size(self, name):
        if str(name).isdigit():
            return int(name)
        if "+" in name:
            return sum(self.size(part) for part in name.split("+"))
        return self.sizes.setdefault(name, int(self.rng.choice(SIZES)))

    def memo(self, key, make):
        """What `make(rng)` returned when `key` was first asked for."""
        if key not in self.values:
            self.values[key] = make(self.rng)
        return self.values[key]

    def draw(self, sym):
        if id(sym) not in self.values:
            shape = self.size(sym.rows), self.size(sym.cols)
            if sym.make is not None:
                self.values[id(sym)] = sym, [sym.make(self).reshape(shape)]
            elif sym.mean is None:
                self.values[id(sym)] = sym, [draw(self.rng, shape, sym.kind)]
            else:
                self.values[id(sym)] = sym, self._around(sym, shape)
        options = self.values[id(sym)][1]
        return options[self.outcome % len(options)]

    def _around(self, sym, shape):
        """Outcomes, of the symbol's kind, whose weighted mean is `sym.mean`."""
        centre = value(sym.mean, self)
        kind = "symmetric" if sym.symmetric else "any"
        noise = [draw(self.rng, shape, kind) for _ in range(OUTCOMES)]
        middle = sum(w * n for w, n in zip(self.weights, noise, strict=True))
        noise = [n - middle for n in noise]
        if sym.kind not in ("pd", "psd"):
            return [centre + n for n in noise]
        # C^1/2 (I + small noise) C^1/2 has the range of the mean C, and its sign.
        spread = 0.9 / max(np.abs(np.linalg.eigvalsh(n)).max() for n in noise)
        eigenvalues, vectors = np.linalg.eigh(centre)
        root = vectors * np.sqrt(eigenvalues.clip(0))
        return [root @ (np.eye(len(n)) + spread * n) @ root.T for n in noise]

    def scalar(self, symbol):
        if symbol.name in self.sizes:
            return float(self.sizes[symbol.name])
        if symbol not in self.values:
            draw_one = self.rng.uniform(0.3, 2.5)
            if not symbol.is_positive:
                draw_one *= self.rng.choice((-1.0, 1.0))
            self.values[symbol] = symbol, [draw_one]
        return self.values[symbol][1][0]


def draw(rng, shape, kind):
    a = rng.standard_normal(shape)
    if kind == "any":
        return a
    if kind == "symmetric":
        return (a + a.T) / 2
    rank = shape[0] if kind == "pd" else max(1, shape[0] - 1)
    root = rng.standard_normal((shape[0], rank))
    return root @ root.T + (0.3 * np.eye(shape[0]) if kind == "pd" else 0)


def value(e, world):
    """Value of a formula in an `Instance`: a float or a 2-D array."""
    result = _value(e, world)
    return float(np.asarray(result).reshape(())) if e.shape == f.SCALAR else result


def _value(e, world):
    match e:
        case f.Const():
            names = sorted(e.value.free_symbols, key=str)
            numbers = {s: world.scalar(s) for s in names}
            return float(sympy.N(e.value, 20, subs=numbers) if names else e.value)
        case f.Sym():
            return world.draw(e)
        case f.Let():
            return value(e.definition, world)
        case f.Eye():
            return np.eye(world.size(e.size))
        case f.Zero():
            return np.zeros((world.size(e.rows), world.size(e.cols)))
        case f.Add():
            return sum(value(t, world) for t in e.terms)
        case f.Mul():
            return _product(e.factors, world)
        case f.Transpose():
            return value(e.arg, world).T
        case f.Inv():
            inner = value(e.arg, world)
            return 1 / inner if e.shape == f.SCALAR else np.linalg.inv(inner)
        case f.Det():
            return np.linalg.det(value(e.arg, world))
        case f.Tr():
            return np.trace(np.atleast_2d(value(e.arg, world)))
        case f.Log():
            return _log(e.arg, world)
        case f.Block():
            rows = [[np.atleast_2d(value(b, world)) for b in row] for row in e.rows]
            return np.block(rows)
        case f.Mean():
            return _mean(e.arg, world)
    return e.evaluate(world)  # a leaf that another module adds


def _product(factors, world):
    """Left to right; a stretch whose shape closes to 1 x 1 is a scalar.

    Shapes are the formula's, not the arrays': a D x D matrix stays one if D is 1.
    """
    coefficient, out, rows = 1.0, None, None
    for e in factors:
        x = value(e, world)
        if e.shape == f.SCALAR:
            coefficient *= x
            continue
        out, rows = (x, e.shape[0]) if out is None else (out @ x, rows)
        if rows == 1 and e.shape[1] == 1:
            coefficient, out = coefficient * out.item(), None
    return coefficient if out is None else coefficient * out


def _log(arg, world):
    if isinstance(arg, f.Det):
        sign, size = np.linalg.slogdet(value(arg.arg, world))
        return size if sign > 0 else np.nan
    inner = value(arg, world)
    return np.log(inner) if inner > 0 else np.nan


def _mean(arg, world):
    total = 0.0
    for world.outcome in range(OUTCOMES):
        total = total + world.weights[world.outcome] * value(arg, world)
    world.outcome = 0
    return total


def compare(lhs, rhs, relation, rng, trials=12, tolerance=1e-8):
    """First random instance in which the relation fails, or None.

    `relation` is "=", "<=", ">=" for scalars, "=" or ">=" (Loewner order) for
    matrices. Residuals are relative to the size of the two sides.
    """
    names = counted_sizes(lhs, rhs)
    for _ in range(trials):
        world = Instance(np.random.default_rng(rng.integers(2**63)))
        for name in names:
            world.size(name)
        left, right = value(lhs, world), value(rhs, world)
        gap, scale = (
            np.asarray(left - right),
            1 + np.abs(left).max() + np.abs(right).max(),
        )
        if not np.all(np.isfinite(gap)) or _fails(gap, relation, tolerance * scale):
            return f"{describe(world)}: {short(left)} against {short(right)}"
    return None


def counted_sizes(*formulas):
    """Sizes that also stand as scalars, as in D log 2: to be drawn first, as sizes."""
    found = {}
    todo = list(formulas)
    while todo:
        e = todo.pop()
        if isinstance(e, tuple):
            todo += e
        elif isinstance(e, f.Formula) and id(e) not in found:
            found[id(e)] = e
            todo += vars(e).values()
    scalars = {s.name for e in found.values() for s in _symbols(e)}
    sizes = {
        part for e in found.values() for n in e.shape for part in str(n).split("+")
    }
    return sorted(scalars & sizes)


def _symbols(e):
    return e.value.free_symbols if isinstance(e, f.Const) else ()


def _fails(gap, relation, slack):
    if relation == "=":
        return np.abs(gap).max() > slack
    if gap.ndim == 2:
        low = np.linalg.eigvalsh((gap + gap.T) / 2)
        return low[0] < -slack if relation == ">=" else low[-1] > slack
    return gap < -slack if relation == ">=" else gap > slack


def describe(world):
    sizes = ", ".join(f"{k}={v}" for k, v in sorted(world.sizes.items()))
    return f"at {sizes}" if sizes else "at a random point"


def short(x):
    return f"{x:.4g}" if np.ndim(x) == 0 else np.array2string(x, precision=3)

"""Posteriors of another, named precision for sizes that P itself does not allow.

Each is exact about a P of its own: it brings every root to coordinates in which that P
is the identity (or lambda I plus the training roots), and all scores follow from there
without another approximation.
"""

import math
from functools import cached_property
from typing import ClassVar

import torch

from fimlib.fisher import FisherRoots, Sketch, StreamedRoots
from fimlib.posterior.gaussian import GaussianPosterior
from fimlib.posterior.span import BATCH


class Seen(StreamedRoots):
    """Roots through a change of coordinates, made chunk by chunk: (r, D) to (r, k)."""

    def __init__(self, roots, change, num_parameters):
        self._roots = roots
        self._change = change
        self._num_parameters = num_parameters

    def __len__(self):
        return len(self._roots)

    def __getitem__(self, indices):
        return Seen(self._roots[indices], self._change, self.num_parameters)

    @property
    def rank(self):
        """r."""
        return self._roots.rank

    @property
    def num_parameters(self):
        """k, after the change."""
        return self._num_parameters

    @property
    def dtype(self):
        """float64."""
        return torch.float64

    @property
    def device(self):
        """The device of the roots."""
        return self._roots.device

    def batches(self, size):
        """Consecutive changed roots, of at most `size` examples each, in one pass."""
        for batch in self._roots.batches(size):
            yield Seen(batch, self._change, self.num_parameters)

    def parts(self):
        """Consecutive changed roots, a chunk at a time."""
        for part in self._roots.chunks():
            yield FisherRoots(self._change(part))


class _Approximation(GaussianPosterior):
    """What the approximations share: a change of coordinates and a log det P."""

    _options: ClassVar[dict] = {}

    def update(self, roots):
        """The posterior after these examples too: the approximation made anew."""
        self._check_roots(roots)
        return type(self)(
            self.num_parameters,
            self.prior_precision,
            (*self.train_roots, roots),
            **self._options,
        )

    @property
    def basis(self):
        """None: an approximation is made in all the parameters."""
        return None

    @property
    def precision(self):
        """Refused: the approximation stands for a P that is not held."""
        raise ValueError(
            f"precision must be asked of an exact posterior, got the "
            f"{self.approximation} approximation"
        )

    covariance = precision
    root_inverse = precision

    @property
    def num_seen(self):
        """Coordinates after the change: D, unless they are sketched."""
        return self.num_parameters

    def seen(self, *roots):
        """The exact posterior in the changed coordinates, and the roots in them."""
        post = GaussianPosterior.isotropic(self.num_seen, 1.0)
        return post, *(Seen(one, self.change, self.num_seen) for one in roots)


class DiagonalPosterior(_Approximation, approximation="diagonal"):
    """P = lambda I + the diagonal of sum F_i: parameters taken as independent."""

    @cached_property
    def diagonal(self):
        """The diagonal of P, (D,)."""
        total = torch.full(
            (self.num_parameters,),
            self.prior_precision,
            dtype=torch.float64,
            device=self.device,
        )
        return total + sum(roots.diagonal_sum() for roots in self.train_roots)

    def change(self, part):
        """R P^{-1/2}, (M, r, D)."""
        return part.dense().double() * self.diagonal.rsqrt().to(part.device)

    @property
    def log_det_precision(self):
        """log det of the diagonal P, ()."""
        return self.diagonal.log().sum()


class KroneckerPosterior(_Approximation, approximation="kronecker"):
    """P = lambda I + A (x) B / N for last-layer roots U_i^T (x) phi_i^T.

    A = sum U_i U_i^T (C, C) and B = sum phi_i phi_i^T (q, q): the outputs' information
    and the features are taken as independent, and lambda is added exactly.
    """

    @cached_property
    def factors(self):
        """Eigenvectors of A and B, and the eigenvalues of P as (C, q)."""
        a = b = 0.0
        for roots in self.train_roots:
            for part in roots.batches(BATCH):
                if not part.kronecker:
                    raise ValueError(
                        "train_roots must be last-layer roots for the kronecker "
                        f"approximation, got {type(part).__name__}"
                    )
                factor = part.factor.double().transpose(0, 1).flatten(1)
                features = part.features.double()
                a, b = a + factor @ factor.mT, b + features.mT @ features
        count = sum(len(roots) for roots in self.train_roots)
        if not count:
            raise ValueError(
                "train_roots must hold at least one example for the kronecker "
                "approximation, got 0"
            )
        (p, vectors_a), (q, vectors_b) = torch.linalg.eigh(a), torch.linalg.eigh(b)
        values = p.clamp(min=0.0)[:, None] * q.clamp(min=0.0) / count
        return vectors_a, vectors_b, values + self.prior_precision

    def change(self, part):
        """R P^{-1/2} in the eigenvectors' coordinates, (M, r, D)."""
        left, right, values = (one.to(part.device) for one in self.factors)
        rows = part.dense().double().unflatten(2, values.shape)
        rows = left.mT @ (rows @ right)
        return (rows * values.rsqrt()).flatten(2)

    @property
    def log_det_precision(self):
        """log det of the Kronecker-factored P, ()."""
        return self.factors[2].log().sum()


class SketchPosterior(_Approximation, approximation="sketch"):
    """P = lambda I + sum F_i in `size` random combinations of the parameters.

    A count sketch keeps the expectation of inner products of roots, with a standard
    deviation of about their norms' product / sqrt(size); every score is exact in the
    sketched parameters (see `fimlib.fisher.Sketch`).
    """

    def __init__(self, num_parameters, prior_precision, train_roots, size=1024, seed=0):
        super().__init__(num_parameters, prior_precision, train_roots)
        self._options = {"size": size, "seed": seed}
        generator = torch.Generator().manual_seed(seed)
        self.sketch = Sketch(num_parameters, size, "count_sketch", generator)

    @property
    def num_seen(self):
        """The number of combinations, `size`."""
        return self._options["size"]

    def change(self, part):
        """The sketched roots (M, r, size)."""
        return self.sketch(part).dense().double()

    @cached_property
    def sketched(self):
        """The exact posterior in the sketched parameters."""
        roots = [FisherRoots(self._see(one).dense()) for one in self.train_roots]
        return GaussianPosterior(self.num_seen, self.prior_precision, roots)

    def _see(self, roots):
        return Seen(roots, self.change, self.num_seen)

    def seen(self, *roots):
        """The exact posterior in the sketched parameters, and the roots in them."""
        return self.sketched, *(self._see(one) for one in roots)

    @property
    def log_det_precision(self):
        """log det P with the sketched information, the other directions' lambda, ()."""
        left_out = self.num_parameters - self.num_seen
        rest = left_out * math.log(self.prior_precision)
        return self.sketched.log_det_precision + rest

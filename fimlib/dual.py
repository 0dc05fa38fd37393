"""Whole-network quantities through the data: N r x N r matrices and products (T8, T30).

With G (N r, D) the stacked roots of N examples, F = G^T G and S = G G^T share all that
is not zero in their spectra: log det(I + F / lambda) and tr F cost what S costs, and
for linear layers S is a sum over layers of products of small inner products. Nothing
of size N x D or D x D is held.
"""

import torch

from fimlib import linalg
from fimlib._checks import as_tensor, check_count, positive_float
from fimlib.fisher import LayeredRoots, NetworkRoots
from fimlib.posterior.frame import MAX_DENSE
from fimlib.posterior.span import BATCH, EPS, num_rows, warn_if_inaccurate


def gram_matrix(roots):
    """Inner products of all rows of the roots, G G^T (M r, M r), in float64 (T30).

    Row i r + k belongs to row k of example i. Raises ValueError for no examples and
    above 20,000 rows.
    """
    count = _checked_count(roots)
    if count > MAX_DENSE:
        raise ValueError(
            f"roots must have at most {MAX_DENSE} rows, got {count}: the matrix of "
            f"their inner products would take {8e-9 * count**2:.1f} GB"
        )
    return roots.cross(roots).reshape(count, count).double()


def log_det_fisher(roots, prior_precision=1.0):
    """log det(I + F / lambda), () in nats, with F the sum over the examples (T8, T30).

    Twice the information about the parameters in all labels together, under a prior of
    precision lambda (T25). Through the smaller of (M r) x (M r) and D x D; the error is
    about eps tr(F) / lambda at most, with an `AccuracyWarning` past 1e-6. Raises
    ValueError for no examples, lambda <= 0, and when both sizes exceed 20,000.
    """
    prior_precision = positive_float(prior_precision, "prior_precision")
    if _checked_count(roots) < roots.num_parameters:
        matrix = gram_matrix(roots)
    elif roots.num_parameters <= MAX_DENSE:
        matrix = roots.fisher_sum()
    else:
        raise ValueError(
            f"roots must have at most {MAX_DENSE} rows or parameters, got "
            f"{num_rows(roots)} rows and {roots.num_parameters} parameters"
        )
    matrix = matrix / prior_precision
    trace = float(matrix.diagonal().sum())
    # The trace is at least the log det, and for a small one no I may be added.
    if trace < 1.0:
        return linalg.log_det_identity_plus(matrix, check=False)
    warn_if_inaccurate(EPS * trace)
    matrix.diagonal().add_(1.0)
    factor = linalg.cholesky_of_symmetric(matrix, "I + F / lambda")
    return 2.0 * factor.diagonal().log().sum()


def fisher_trace(roots):
    """Trace of the summed Fisher information, () in float64, without any product (T43).

    Exact for estimator "exact", where one-label estimates have tr F only in the mean.
    Raises ValueError for no examples.
    """
    _checked_count(roots)
    total = torch.zeros((), dtype=torch.float64, device=roots.device)
    for part in roots.batches(BATCH):
        if isinstance(part, LayeredRoots):
            for gradients, inputs, bias in part.layers:
                norms = _squared_norm(inputs) + bias
                total += norms @ _squared_norm(gradients).sum(1)
        else:
            grams = part.self_gram().double()
            total += grams.diagonal(dim1=1, dim2=2).sum()
    return total


def fisher_product(roots, vectors):
    """Products F V (D, k) of the summed Fisher information with V (D, k) or (D,).

    Matrix-free: roots of a network that are not held go through it twice, forward with
    the vector and backward with U U^T times what comes out, so that D may be in the
    millions. Raises ValueError for no examples and vectors of another size.
    """
    _checked_count(roots)
    shape = (roots.num_parameters, "k")
    if getattr(vectors, "ndim", 2) == 1:
        vectors = as_tensor(vectors, "vectors", shape[:1], roots.dtype)
        return fisher_product(roots, vectors[:, None])[:, 0]
    vectors = as_tensor(vectors, "vectors", shape, roots.dtype).to(roots.device)
    total = torch.zeros_like(vectors, dtype=torch.float64)
    for part in roots.batches(BATCH):
        for k, vector in enumerate(vectors.unbind(1)):
            if isinstance(part, NetworkRoots):
                total[:, k] += part.fisher_product(vector)
            elif isinstance(part, LayeredRoots):
                total[:, k] += _by_layers(part, vector)
            else:
                total[:, k] += _by_rows(part, vector)
    return total


def _squared_norm(rows):
    """Of each row, in its own dtype; their sums are taken in float64."""
    return torch.linalg.vector_norm(rows, dim=-1).double().square()


def _checked_count(roots):
    check_count(len(roots), "roots")
    return num_rows(roots)


def _by_rows(roots, vector):
    total = 0.0
    for part in roots.chunks():
        rows = part.dense().flatten(0, 1)
        total = total + (rows.mT @ (rows @ vector)).double()
    return total


def _by_layers(roots, vector):
    """From the factors of each layer: gradients (M, r, o), inputs (M, q), bias."""
    pieces, products, start = [], 0.0, 0
    for gradients, inputs, bias in roots.layers:
        outputs, width = gradients.shape[2], inputs.shape[1]
        weight = vector[start : start + outputs * width].view(outputs, width)
        start += outputs * width
        change = inputs @ weight.mT
        if bias:
            change = change + vector[start : start + outputs]
            start += outputs
        products = products + (gradients @ change[:, :, None])[:, :, 0]
    for gradients, inputs, bias in roots.layers:
        back = (gradients.mT @ products[:, :, None])[:, :, 0]
        pieces.append((back.mT @ inputs).flatten())
        if bias:
            pieces.append(back.sum(0))
    return torch.cat(pieces).double()

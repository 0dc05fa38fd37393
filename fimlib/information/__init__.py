"""Weight-space information scores from Fisher information (T21-T28, T42, T50), in nats.

Every score of an example i is a function of Gram blocks R_i A R_i^T (r, r). With P the
posterior precision, F_E the sum of the evaluation examples' Fisher information and
X^T P X = I, X^T F_E X = diag(m), all the A there are have weights between X and X^T:
P^{-1} has 1, (P + F_E)^{-1} 1/(1+m), their difference m/(1+m), which is never computed
by subtracting, and P^{-1} F_E P^{-1} m. A mean of F_e has m / E in the place of m.

Small problems are solved on the rows R_i X themselves, with a relative error of about
eps sqrt(cond(P)); larger ones on Gram blocks, with eps cond(P) and a warning past 1e-6.

All raise ValueError for no examples, another `form` and roots of another size than the
posterior's, and where dense matrices above 20,000 x 20,000 would be needed.
"""

from fimlib._checks import guard
from fimlib.information.expected import (
    batch_eig,
    eig,
    epig,
    epig_proxy,
    epig_upper,
    jepig,
    jepig_proxy,
    scores,
)
from fimlib.information.known import ig, jpig, pig
from fimlib.information.whole import (
    fisher_product,
    fisher_trace,
    gram_matrix,
    log_det_fisher,
)

__all__ = [
    "batch_eig", "eig", "epig", "epig_proxy", "epig_upper", "fisher_product",
    "fisher_trace", "gram_matrix", "ig", "jepig", "jepig_proxy", "jpig",
    "log_det_fisher", "pig", "scores",
]  # fmt: skip

guard(globals())

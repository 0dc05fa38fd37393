"""Function space: the scores from the covariance of the outputs, T44.

J is a Jacobian (outputs by parameters), P the posterior precision, k = J P^-1 J' the
covariance of the outputs; s2 the noise variance of a regression label.
"""

import numpy as np

from companion.evidence.draws import *
from companion.evidence.ledger import CONDITIONS, claim
from companion.evidence.notation import I_D, K, P, same
from companion.proof import *
from fimlib import information
from fimlib.families import Categorical
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

# --- T44 -------------------------------------------------------------------------


@claim(
    "T44",
    CONDITIONS,
    "thm-lens-outputs eq-lens-outputs",
    correction=(
        "an ensemble stands for a posterior only if its members are draws from it; "
        "past its rank, a log-determinant knows of nothing new: at most half of log 2"
        " for each further example, whatever the noise"
    ),
)
def t44():
    c, e = r"\numclasses", r"\evalsize"
    jac, root = Sym("J", c, "D"), Sym("U", c, "r")
    s2, members = scalar(r"\sigma^2"), scalar("L")
    j_a, j_e = Sym("J_A", K, "D"), Sym("J_E", e, "D")
    k_a = Let("k_{AA}", j_a * P.I * j_a.T)
    k_ae = Let("k_{AE}", j_a * P.I * j_e.T)
    k_ee = Let("k_{EE}", j_e * P.I * j_e.T)
    known = (P + j_e.T * j_e / s2).I
    given = Let(r"k_{AA\mid E}", k_a - k_ae * (s2 * Eye(e) + k_ee).I * k_ae.T)
    i_k = Eye(K)
    outputs, ones = Sym("Z", "M", "L"), Sym("u", "L")
    centre = Eye("L") - ones * ones.T / (ones.T * ones)
    k, mean = Sym("k", "M", "M", "psd"), Sym("m", "M")
    steps = [
        *chain(
            HALF * logdet(I_D + jac.T * root * root.T * jac * P.I),
            eq(
                HALF * logdet(Eye("r") + root.T * jac * P.I * jac.T * root),
                r"{prf:ref}`thm-sylvester`: inside stands $k=JP^{-1}J^\top$",
                Sylvester(jac.T * root, root.T * jac * P.I),
            ),
        ),
        *chain(
            HALF * logdet(I_D + j_a.T * j_a * P.I / s2),
            eq(
                HALF * logdet(i_k + k_a / s2),
                "a batch of regression labels: BatchBALD",
                Sylvester(j_a.T / s2, j_a * P.I),
            ),
        ),
        same(
            j_a * known * j_a.T,
            given,
            "Woodbury: conditioning on noisy outputs is a Schur complement of $k$",
        ),
        *chain(
            HALF * logdet(i_k + k_a / s2) - HALF * logdet(i_k + given / s2),
            eq(
                HALF * logdet(s2 * i_k + k_a) - HALF * logdet(s2 * i_k + given),
                r"JEPIG: $\sigma^{2\batchvar}$ cancels; this is LogDetMI of $k$",
                Scaled(1 / s2, s2 * i_k + k_a),
                Scaled(1 / s2, s2 * i_k + given),
            ),
        ),
        same(
            outputs * centre * ones,
            Zero("M", 1),
            r"the members' deviations from their mean add up to zero: rank "
            r"$L-1$ at most ($Z$ holds their outputs, $u$ ones)",
        ),
        same(
            (k + mean * mean.T) - (k / members + mean * mean.T),
            Const(1 - 1 / members.value) * k,
            r"$\simpleE{}\hat k$: second moment of a member less that of their mean",
        ),
    ]
    single, joint, ensemble, rate = (
        "information.eig equals ½ log det(I + Λ k) of the outputs",
        "jepig equals the LogDetMI of k at λ = σ², batch_eig its log det",
        "eig of an ensemble's deviations is ½ log(1 + k̂/σ²), whatever the batch",
        "mean squared error of k̂ against its closed form, L = 5 and 20",
    )
    return Derivation(
        steps,
        [
            Check(single, information.eig, output_covariance, TIGHT),
            Check(joint, kernel_scores, log_det_mi, TIGHT),
            Check(ensemble, black_box, numpy_covariance, TIGHT),
            Check(rate, ensemble_kernel, kernel_error, 4, MONTE_CARLO),
        ],
        [
            Mutant("unbiased as it stands", 6, 1 * k),
            Mutant("dropped ½", single, doubled(information.eig)),
            Mutant("dropped ½", joint, doubled(kernel_scores)),
            Mutant(
                "standard deviation for variance",
                joint,
                lambda a, e, p, s: kernel_scores(a, e, p, s**0.5),
            ),
            Mutant(
                "not centred", ensemble, lambda f, s: black_box(np.vstack([f, -f]), s)
            ),
            Mutant("not centred", rate, lambda f: f.T @ f / len(f)),
            Mutant(
                "unbiased as it stands",
                rate,
                lambda f: ensemble_kernel(f) * len(f) / (len(f) - 1),
            ),
        ],
    )


@worst
def output_covariance(function, rng):
    for classes, width, count in ((2, 3, 5), (3, 4, 7), (5, 2, 3)):
        roots, logits, post = classifier(rng, classes, width, count)
        inverse = np.linalg.inv(post.precision.numpy())
        curvature = Categorical().fisher(logits).numpy()
        truth = []
        for phi, weight in zip(roots.features.numpy(), curvature, strict=True):
            jac = np.kron(np.eye(classes), phi)
            covariance = jac @ inverse @ jac.T
            truth.append(log_det(np.eye(classes) + weight @ covariance) / 2)
        yield gap(function(roots, post), truth)


def kernel_scores(jac, jac_eval, post, noise_variance):
    """JEPIG of each regression label, and the EIG of all of them together."""
    roots, evals = (
        FisherRoots.from_dense(j / np.sqrt(noise_variance)) for j in (jac, jac_eval)
    )
    return [information.jepig(roots, evals, post), information.batch_eig(roots, post)]


@worst
def log_det_mi(function, rng):
    """From the covariance of all outputs alone, weights forgotten."""
    for size, count, evals in ((3, 5, 2), (7, 2, 5)):
        covariance, s2 = pd_matrix(rng, size), float(np.exp(rng.uniform(-2, 2)))
        jac, jac_eval = (rng.standard_normal((n, size)) for n in (count, evals))
        whole = np.vstack([jac, jac_eval])
        k = whole @ covariance @ whole.T + s2 * np.eye(count + evals)
        k_e = log_det(k[count:, count:])
        gains = []
        for i in range(count):
            chosen = [i, *range(count, count + evals)]
            joint = log_det(k[np.ix_(chosen, chosen)])
            gains.append((np.log(k[i, i]) + k_e - joint) / 2)
        batch = (log_det(k[:count, :count]) - count * np.log(s2)) / 2
        post = GaussianPosterior.from_roots(
            FisherRoots.from_dense(np.zeros((1, size)))[:0], np.linalg.inv(covariance)
        )
        found = function(jac, jac_eval, post, s2)
        yield gap(found[0], gains)
        yield gap(found[1], batch)


def black_box(outputs, noise_variance):
    """EIG and batch EIG of regression labels from an ensemble's outputs (L, M).

    The deviations from the mean, over sqrt(L), are features with identity covariance.
    """
    members = len(outputs)
    deviations = (outputs - outputs.mean(0)).T / np.sqrt(members * noise_variance)
    roots = FisherRoots.from_dense(deviations)
    post = GaussianPosterior.isotropic(members, 1.0)
    return [information.eig(roots, post), information.batch_eig(roots, post)]


@worst
def numpy_covariance(function, rng):
    for members, count in ((2, 5), (7, 3), (5, 11)):
        outputs = rng.standard_normal((members, count)) + rng.standard_normal(count)
        k = np.cov(outputs.T, bias=True)
        if np.linalg.matrix_rank(k) > members - 1:
            raise ArithmeticError("the rank exceeds L - 1")
        truth = np.log1p(np.diag(k) / 0.3) / 2, log_det(np.eye(count) + k / 0.3) / 2
        # Only deviations count: the mean of all members may be anything.
        found = function(outputs - outputs[0], 0.3)
        yield from (gap(f, t) for f, t in zip(found, truth, strict=True))


def ensemble_kernel(outputs):
    """The covariance k-hat (M, M) of outputs (L, M), divided by L."""
    deviations = FisherRoots.from_dense(
        (outputs - outputs.mean(0)).T / np.sqrt(len(outputs))
    )
    return deviations.cross(deviations)[:, 0, :, 0].numpy()


@worst
def kernel_error(function, rng):
    """z-score of the mean |k-hat - k|^2, which is Wishart's variance plus the bias."""
    root = rng.standard_normal((3, 4))
    k = root @ root.T
    squares = (k**2).sum()
    for members, draws in ((5, 3000), (20, 500)):
        spread = (members - 1) / members**2 * (squares + np.trace(k) ** 2)
        truth = spread + squares / members**2
        errors = []
        for _ in range(draws):
            outputs = rng.standard_normal((members, 4)) @ root.T
            errors.append(((function(outputs) - k) ** 2).sum())
        yield z_score(errors, truth)

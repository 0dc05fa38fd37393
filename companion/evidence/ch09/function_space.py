"""Function space: the scores from the covariance of the outputs, T44.

J is a Jacobian (outputs by parameters), P the posterior precision, k = J P^-1 J' the
covariance of the outputs; s2 the noise variance of a regression label.
"""

import numpy as np

from companion.evidence.draws import *
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, K, P, same
from companion.proof import *
from companion.proof import ones as vector_of_ones
from fimlib import information, selection
from fimlib.families import Categorical
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior


@claim("T44", CONDITIONS, "thm-lens-outputs eq-lens-outputs")
def t44():
    r"""An ensemble stands for a posterior only if its members are draws from it; past
    its rank a log-determinant knows of nothing new: a further example gains
    $\tfrac12\log(1+c^\top c)$, $c$ its coordinates in those chosen, however small the
    noise.
    """
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
    outputs, ones = Sym("Z", "M", "L"), vector_of_ones("u", "L")
    centre = Eye("L") - ones * ones.T / (ones.T * ones)
    k, mean = Sym("k", "M", "M", "psd"), Sym("m", "M")
    rows = Sym("B", "n", "n+m")
    noisy = s2 * Eye("n+m") + rows.T * rows
    steps = [
        same(
            HALF * logdet(I_D + jac.T * root * root.T * jac * P.I),
            HALF * logdet(Eye("r") + root.T * jac * P.I * jac.T * root),
            r"{prf:ref}`thm-sylvester`: inside stands $k=JP^{-1}J^\top$",
            Sylvester(jac.T * root, root.T * jac * P.I),
        ),
        same(
            HALF * logdet(I_D + j_a.T * j_a * P.I / s2),
            HALF * logdet(i_k + k_a / s2),
            "a batch of regression labels: BatchBALD",
            Sylvester(j_a.T / s2, j_a * P.I),
        ),
        same(
            j_a * known * j_a.T,
            given,
            "Woodbury: conditioning on noisy outputs is a Schur complement of $k$",
        ),
        same(
            HALF * logdet(i_k + k_a / s2) - HALF * logdet(i_k + given / s2),
            HALF * logdet(s2 * i_k + k_a) - HALF * logdet(s2 * i_k + given),
            r"JEPIG: $\sigma^{2\batchvar}$ cancels; this is LogDetMI of $k$",
            Equal(given, j_a * known * j_a.T),
            Scaled(1 / s2, s2 * i_k + k_a),
            Scaled(1 / s2, s2 * i_k + given),
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
        same(
            rows * noisy.I * rows.T,
            Eye("n") - s2 * (s2 * Eye("n") + rows * rows.T).I,
            r"past the rank, an example $B^\top c$ is made of those chosen, the "
            r"independent rows of $B$; its gain, $\tfrac12\log(1+c^\top B(\cdot)^{-1}"
            r"B^\top c)$, tends to $\tfrac12\log(1+c^\top c)$ as $\sigma\to0$",
        ),
    ]
    single, joint, ensemble, rate, past = (
        "information.eig equals ½ log det(I + Λ k) of the outputs",
        "jepig equals the LogDetMI of k at λ = σ², batch_eig its log det",
        "eig of an ensemble's deviations is ½ log(1 + k̂/σ²), whatever the batch",
        "mean squared error of k̂ against its closed form, L = 5 and 20",
        "greedy log det of L members: gain L is ½ log(1 + c'c), by least squares",
    )
    return evidence(
        steps,
        Check(single, information.eig, output_covariance, TIGHT),
        Check(joint, kernel_scores, log_det_mi, TIGHT),
        Check(ensemble, black_box, numpy_covariance, TIGHT),
        Check(rate, ensemble_kernel, kernel_error, 4, MONTE_CARLO),
        Check(past, greedy_gains, past_the_rank, 1e-6),
        Mutant("unbiased as it stands", 6, 1 * k),
        Mutant("without a limit", 7, rows * rows.T / s2),
        Mutant("dropped ½", single, doubled(information.eig)),
        Mutant("dropped ½", joint, doubled(kernel_scores)),
        Mutant(
            "standard deviation for variance",
            joint,
            changed(kernel_scores, 3, np.sqrt),
        ),
        Mutant("not centred", ensemble, lambda f, s: black_box(np.vstack([f, -f]), s)),
        Mutant("not centred", rate, lambda f: f.T @ f / len(f)),
        Mutant("at most that of a copy", past, at_most_a_copy),
        Mutant(
            "unbiased as it stands",
            rate,
            lambda f: ensemble_kernel(f) * len(f) / (len(f) - 1),
        ),
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


def greedy_gains(outputs, noise_variance):
    """The batch of greedy log det by an ensemble, one past its rank, and its gains."""
    members = len(outputs)
    deviations = (outputs - outputs.mean(0)).T / np.sqrt(members * noise_variance)
    prior = GaussianPosterior.isotropic(members, 1.0)
    return selection.greedy_log_det(FisherRoots.from_dense(deviations), prior, members)


def at_most_a_copy(outputs, noise_variance):
    batch = greedy_gains(outputs, noise_variance)
    return selection.Selection(batch.indices, batch.gains.clamp(max=np.log(2) / 2))


@worst
def past_the_rank(function, rng):
    """The gain of the last, against the coordinates of all in those before it."""
    for members in (3, 5, 10):
        outputs = rng.standard_normal((members, 256))
        batch = function(outputs, 1e-10)
        deviations = (outputs - outputs.mean(0)).T
        chosen = deviations[batch.indices[:-1].numpy()]
        c = np.linalg.lstsq(chosen.T, deviations.T, rcond=None)[0]
        c[:, batch.indices[:-1].numpy()] = 0  # these are taken
        limit = np.log1p(np.square(c).sum(0)).max() / 2
        yield gap(batch.gains[-1], limit)

"""LogDetMI as JEPIG: T34.

R_A and R_E stack the gradients, or roots, of a batch and of the evaluation set;
S_A = R_A R_A', S_AE = R_A R_E', and so on.
"""

import numpy as np
from scipy.linalg import subspace_angles

from companion.evidence.draws import gap, gradients, log_det, pd_matrix, worst
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import I_D, I_K, LAM, E, K, P, same
from companion.proof import *
from companion.proof.rules import identity
from fimlib import information, similarity
from fimlib.fisher import FisherRoots, last_layer_roots
from fimlib.posterior import GaussianPosterior

R_A, R_E = Sym("R_A", K, "D"), Sym("R_E", E, "D")
I_E = Eye(E)
S_A, S_E = Let("S_A", R_A * R_A.T), Let("S_E", R_E * R_E.T)
S_AE, S_EA = Let("S_{A E}", R_A * R_E.T), Let("S_{E A}", R_E * R_A.T)


def schur(a, cross, e, cross_t):
    """[[a, cross], [cross', e]] and the rules by which its det is det(rest) det(e)."""
    size, other = a.shape[0], e.shape[0]
    rest = a - cross * e.I * cross_t
    whole = block([a, cross], [cross_t, e])
    upper = block([identity(size), cross * e.I], [Zero(other, size), identity(other)])
    lower = block([rest, Zero(size, other)], [cross_t, e])
    rules = BlockProduct(whole, upper, lower), Triangular(upper), Triangular(lower)
    return whole, rules


@claim("T34", CORRECTED, "thm-sim-mi eq-sim-mi eq-sim-angles eq-errata-talk-log-det-mi")
def t34():
    """The factor ½ and λ are missing; without λ the formula is infinite as soon as the
    evaluation gradients span the candidate's, and else sees angles only.
    """
    a, e = LAM * I_K + S_A, LAM * I_E + S_E
    schur_complement = a - S_AE * e.I * S_EA
    rest = Let(r"S_{A\mid E}", schur_complement)
    whole, rules = schur(a, S_AE, e, S_EA)
    after = I_K + R_A * (LAM * I_D + R_E.T * R_E).I * R_A.T
    kernel_a = Let(r"\tilde S_A", R_A * P.I * R_A.T)
    kernel_e = Let(r"\tilde S_E", R_E * P.I * R_E.T)
    cross = Let(r"\tilde S_{A E}", R_A * P.I * R_E.T)
    cross_t = Let(r"\tilde S_{E A}", R_E * P.I * R_A.T)
    jepig = HALF * logdet(I_K + S_A / LAM) - HALF * logdet(after)
    alike = Equal(rest, LAM * after)
    steps = [
        same(
            LAM * after,
            schur_complement,
            r"Woodbury, {prf:ref}`thm-sylvester`; call this $S_{A\mid E}$",
        ),
        same(
            jepig,
            HALF * logdet(a) - HALF * logdet(rest),
            r"{eq}`eq-epig-jepig`, $P=\lambda I$, and $\lambda^{\batchvar}$ "
            r"cancels: LogDetMI, with ½ and $\lambda$",
            alike,
            Scaled(LAM, after),
            Scaled(1 / LAM, a),
        ),
        same(
            logdet(whole) - logdet(e),
            logdet(rest),
            "block determinant (Schur complement): line 2 is symmetric in the two sets",
            alike,
            *rules,
        ),
        same(
            I_K + R_A * (P + R_E.T * R_E).I * R_A.T,
            I_K + kernel_a - cross * (I_E + kernel_e).I * cross_t,
            r"any posterior: $\tilde S=RP^{-1}R^\top$ for $S$, and 1 for $\lambda$",
        ),
        angles_alone(),
        slope_line(),
    ]
    exact, weighted, slope, limit, lengths, spanned = (
        r"log_det_mi with jitter $\lambda$ from 1 to 1e-6 is twice information.jepig",
        "with a posterior and jitter 1, twice the four D × D log-determinants",
        "shared directions: it grows by 2 jepig_small_prior_slope per log(1/λ)",
        r"$\lambda=0$: $-\sum\log(1-\cos^2\varphi)$ with the angles of scipy",
        "at λ = 0 it does not change when gradients are made longer or recombined",
        r"softmax, λ = 0: finite up to $(\numclasses-1)(d+1)-1$ gradients at hard "
        "labels, refused from one more on",
    )
    return evidence(
        steps,
        Check(exact, similarity.log_det_mi, twice_jepig, 1e-8),
        Check(weighted, similarity.log_det_mi, twice_dense, 1e-10),
        Check(slope, similarity.jepig_small_prior_slope, growth, 1e-3),
        Check(limit, similarity.log_det_mi, sum_over_angles, 1e-9),
        Check(lengths, similarity.log_det_mi, same_span, 1e-9),
        Check(spanned, similarity.log_det_mi, last_finite_size, 0),
        Mutant(r"$\lambda$ only once", 1, a - S_AE * S_E.I * S_EA),
        Mutant("dropped ½", exact, halved),
        Mutant("no jitter", exact, without_jitter),
        Mutant("EIG for JEPIG", exact, own_log_det),
        Mutant("twice the jitter", weighted, double_jitter),
        Mutant("ranks added up", slope, lambda a, ae, e: len(a) + len(e)),
        Mutant("dropped ½", limit, halved),
        Mutant("with a jitter", lengths, unit_jitter),
        Mutant("with a jitter", spanned, unit_jitter),
    )


def angles_alone():
    """λ = 0, ranks that add: R = L Q with orthonormal Q; every L drops out."""
    width = f"{K}+{E}+n"
    q_a, q_e = (orthonormal_rows(f"Q_{s}", n, width) for s, n in (("A", K), ("E", E)))
    l_a, l_e = (Sym(f"L_{s}", n, n, "invertible") for s, n in (("A", K), ("E", E)))
    r_a, r_e = l_a * q_a, l_e * q_e
    s_a, s_e = Let("S_A", r_a * r_a.T), Let("S_E", r_e * r_e.T)
    s_ae, s_ea = Let("S_{A E}", r_a * r_e.T), Let("S_{E A}", r_e * r_a.T)
    cosines = Let("C", q_a * q_e.T)
    return same(
        HALF * logdet(s_a) - HALF * logdet(s_a - s_ae * s_e.I * s_ea),
        -HALF * logdet(I_K - cosines * cosines.T),
        r"$\lambda=0$: $R_A=L_AQ_A$, $R_E=L_EQ_E$, orthonormal rows in $Q$; lengths "
        r"and mixtures, $L$, are gone, and the singular values of $C=Q_AQ_E^\top$ are "
        r"the $\cos\varphi_i$",
        Positive(s_a - s_ae * s_e.I * s_ea),
        Positive(I_K - cosines * cosines.T),
        Given(q_a * q_a.T, I_K),
        Given(q_e * q_e.T, I_E),
        Multiplicative(l_a, I_K - cosines * cosines.T, l_a.T),
    )


def slope_line():
    """The EIGs of the batch, the evaluation set and both, by T32."""
    sizes = ("r_A", "r_E", "r_U")
    r_a, r_e, r_u = map(scalar, sizes)
    eig, limit, rest, rules = [], [], [], []
    for size in sizes:
        part, eye = Sym(f"S_{size[-1]}", size, size, "pd"), Eye(size)
        left = eye + LAM * part.I
        eig.append(HALF * logdet(eye + part / LAM))
        limit.append(HALF * logdet(part))
        rest.append(HALF * logdet(left))
        rules += Scaled(1 / LAM, part + LAM * eye), Multiplicative(part, left)
    constant = Let("c", limit[0] + limit[1] - limit[2])
    small = Let(r"\rho", rest[0] + rest[1] - rest[2])
    return same(
        eig[0] + eig[1] - eig[2],
        -HALF * (r_a + r_e - r_u) * logdet(LAM) + constant + small,
        r"{prf:ref}`thm-sim-prior` for the three EIGs of lines 2 and 3, $U=A\cup E$; "
        r"$c$ is free of $\lambda$, and $\rho\to0$: finite if and only if ranks add",
        *rules,
    )


def halved(*args, **kwargs):
    return similarity.log_det_mi(*args, **kwargs) / 2


def without_jitter(s_a, s_ae, s_e, jitter=0.0):
    return similarity.log_det_mi(s_a, s_ae, s_e, jitter=jitter / 1e3)


def own_log_det(s_a, s_ae, s_e, jitter=0.0):
    return similarity.log_det(s_a, jitter) - len(s_a) * np.log(jitter)


def double_jitter(*args, jitter):
    return similarity.log_det_mi(*args, jitter=2 * jitter)


def unit_jitter(*args):
    return similarity.log_det_mi(*args, jitter=1.0)


def kernels(a, e, posterior=None):
    """S_A, S_AE, S_E of two sets of gradients."""
    pairs = (a, a), (a, e), (e, e)
    return [
        similarity.similarity_matrix(
            *map(FisherRoots.from_dense, p), posterior=posterior
        )
        for p in pairs
    ]


def stacked(rows):
    """A batch as one example with as many rows, for the scores of single examples."""
    return FisherRoots.from_dense(rows[None])


@worst
def twice_jepig(function, rng):
    for count, evals, size in ((1, 2, 5), (3, 5, 11), (5, 7, 3)):
        a, e = gradients(rng, count, size), gradients(rng, evals, size)
        for lam in (1.0, 1e-3, 1e-6):
            post = GaussianPosterior.isotropic(size, lam)
            truth = 2 * information.jepig(stacked(a), stacked(e), post)[0]
            yield gap(function(*kernels(a, e), jitter=lam), truth)


@worst
def twice_dense(function, rng):
    for count, evals, size in ((2, 3, 5), (3, 7, 4)):
        a, e = gradients(rng, count, size), gradients(rng, evals, size)
        p = pd_matrix(rng, size)
        post = GaussianPosterior.from_roots(FisherRoots.from_dense(a)[:0], p)
        f_a, f_e = a.T @ a, e.T @ e
        truth = log_det(p + f_a) + log_det(p + f_e) - log_det(p + f_a + f_e)
        truth -= log_det(p)
        yield gap(function(*kernels(a, e, post), jitter=1.0), truth)


@worst
def growth(function, rng):
    """log_det_mi between λ = 1e-7 and 1e-8, for 0 to 3 shared directions."""
    for shared in range(4):
        a, e = gradients(rng, 3, 11), gradients(rng, 5, 11)
        e[:shared] = rng.standard_normal((shared, 3)) @ a
        blocks = kernels(a, e)
        far, near = (similarity.log_det_mi(*blocks, jitter=j) for j in (1e-8, 1e-7))
        observed = float(far - near) / np.log(10)
        yield abs(2 * function(*blocks) - observed)
        yield abs(observed - shared)


@worst
def sum_over_angles(function, rng):
    for count, evals, size in ((1, 1, 2), (3, 2, 7), (3, 5, 11)):
        a, e = gradients(rng, count, size), gradients(rng, evals, size)
        truth = -np.log(np.sin(subspace_angles(a.T, e.T)) ** 2).sum()
        yield gap(function(*kernels(a, e)), truth)
        ours = similarity.principal_angles(a, e).numpy()
        yield gap(-2 * np.log(np.sin(ours)).sum(), truth)


def same_span(function, rng):
    a, e = gradients(rng, 3, 11), gradients(rng, 5, 11)
    start = function(*kernels(a, e))
    mixed = rng.standard_normal((3, 3)) @ a, np.exp(rng.uniform(-2, 2, (5, 1))) * e
    return gap(function(*kernels(*mixed)), start)


def last_finite_size(function, rng):
    """How far the largest evaluation set with a finite value is from the predicted."""
    classes, width = 3, 4
    limit = (classes - 1) * (width + 1)

    def hard(count):
        features, logits = (rng.standard_normal((count, n)) for n in (width, classes))
        roots = last_layer_roots(features, logits, estimator="hard_label")
        return roots.dense()[:, 0].numpy()

    a, e = hard(1), hard(limit + 2)
    finite = 0
    for size in range(1, limit + 3):
        try:
            function(*kernels(a, e[:size]))
            finite = size
        except ValueError:
            break
    return abs(finite - (limit - 1))

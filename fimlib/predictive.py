"""Prediction-space scores from Monte-Carlo log-probabilities (M, L, C): T1, T3; nats.

Row (i, l) is log p(y|x_i, theta_l) for samples theta_l of the posterior, which are the
same ones for every example.
"""

import torch

from fimlib._checks import as_tensor

# Numbers held at once by the temporaries of a chunked pass (64 MiB in float64).
_CHUNK_NUMBERS = 2**23


def bald(log_probs):
    """Mutual information I[Theta; Y_i] (M,) of each example: the EIG of T1.

    log_probs: (M, L, C), normalised; -inf is a probability of zero. At most
    min(log C, log L). Raises ValueError for wrong shapes, NaN, and rows whose
    probabilities do not sum to 1.
    """
    log_probs = _checked(log_probs, "log_probs")
    step = max(1, _CHUNK_NUMBERS // log_probs[0].numel())
    return torch.cat([_bald(part) for part in log_probs.split(step)])


def epig(log_probs, log_probs_eval):
    """Mean over e of I[Y_e; Y_i | x_e, x_i] (M,): the EPIG of T3.

    log_probs: (M, L, C) and log_probs_eval: (E, L, C'), from the same L samples of
    theta. Raises ValueError as `bald` does, and for different numbers of samples.
    """
    log_probs = _checked(log_probs, "log_probs")
    evals = _checked(log_probs_eval, "log_probs_eval")
    if evals.shape[1] != log_probs.shape[1]:
        raise ValueError(
            f"log_probs_eval must have the {log_probs.shape[1]} samples of log_probs "
            f"on axis 1, got shape {tuple(evals.shape)}"
        )
    probs, evals = log_probs.exp(), evals.exp()
    own = _entropy(probs.mean(1))
    own_eval = _entropy(evals.mean(1)).mean()
    return own + own_eval - _mean_joint_entropy(probs, evals)


def _bald(log_probs):
    probs = log_probs.exp()
    # KL(p(y|theta_l) || p(y)) summed: no entropies are subtracted, so that an example
    # on which all samples agree scores zero to the last digit.
    mean = probs.mean(1, keepdim=True)
    ratio = torch.where(probs > 0, log_probs - mean.log(), 0.0)
    return (probs * ratio).sum(-1).mean(1).clamp(min=0.0)


def _mean_joint_entropy(probs, evals):
    """Mean over e of H[Y_i, Y_e], (M,), in blocks of bounded size."""
    _, samples, classes = probs.shape
    right = evals.permute(1, 0, 2).reshape(samples, -1) / samples
    left = probs.permute(0, 2, 1).reshape(-1, samples)
    columns = max(1, min(right.shape[1], _CHUNK_NUMBERS // classes))
    rows = classes * max(1, _CHUNK_NUMBERS // (classes * columns))
    found = []
    for some in left.split(rows):
        total = sum(
            _entropy((some @ part).reshape(len(some) // classes, -1))
            for part in right.split(columns, dim=1)
        )
        found.append(total)
    return torch.cat(found) / len(evals)


def _entropy(probs):
    return -torch.special.xlogy(probs, probs).sum(-1)


def _checked(log_probs, name):
    finite = torch.as_tensor(log_probs)
    if finite.is_floating_point():
        finite = finite.clamp(min=torch.finfo(finite.dtype).min)
    log_probs = as_tensor(finite, name, ("M", "L", "C"))
    if 0 in log_probs.shape:
        raise ValueError(
            f"{name} must have shape (M, L, C) without a zero, got "
            f"{tuple(log_probs.shape)}"
        )
    # Sums of float32 probabilities are off by about C eps.
    sums = log_probs.logsumexp(-1).exp()
    worst = (sums - 1).abs().max()
    if worst > 1e-4:
        raise ValueError(
            f"{name} must hold log-probabilities that sum to 1 over the last axis, got "
            f"sums from {float(sums.min()):.6g} to {float(sums.max()):.6g}"
        )
    return log_probs

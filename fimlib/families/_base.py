"""What all families share: outputs are natural parameters unless a family says else."""

import torch

from fimlib._checks import as_tensor, check_shape


class ExponentialFamily:
    """Base of the families, whose network outputs are the natural parameters.

    A family gives `log_partition`, `mean`, `fisher`, `fisher_root`, `log_prob`,
    `sample`, `mode`, `entropy` and `output_gradient`; the rest follows.
    """

    def __repr__(self):
        return f"{type(self).__name__}()"

    def natural(self, outputs):
        """Natural parameters z (M, C) of network outputs (M, C): the same numbers."""
        return self._parameters(outputs, "outputs")

    def output_root(self, outputs):
        """U (M, C, r) with U U^T the Fisher information of the outputs (T16)."""
        return self.fisher_root(self.natural(outputs))

    def output_hessian(self, outputs, y):
        """Hessian (M, C, C) of -log p(y) by the outputs: the observed information.

        In natural parameters it is the Hessian of A, whatever the label y (T18).
        """
        return self.fisher(self.natural(outputs))

    def output_basis(self, num_outputs, device=None):
        """None: every output direction carries information."""
        return None

    def _parameters(self, z, name):
        return parameters(z, name)


def parameters(z, name, columns="C"):
    """Return z as a finite float64 tensor (M, C) with at least one column."""
    z = as_tensor(z, name, ("M", columns))
    if z.shape[1] == 0:
        raise ValueError(f"{name} must have at least 1 columns, got {tuple(z.shape)}")
    return z


def targets(y, name, like):
    """Return labels (M, C) of the shape of `like`; a single column may be (M,)."""
    y = as_tensor(y, name)
    if like.shape[1] == 1 and y.ndim == 1:
        y = y[:, None]
    check_shape(y, name, tuple(like.shape))
    return y.to(like.device)


def refuse(bad, values, name, wanted):
    """Raise ValueError, naming the range of `values` that were `bad`, if there is any.

    `wanted` completes "name must ...".
    """
    if bad.any():
        out = values[bad]
        raise ValueError(
            f"{name} must {wanted}, got {int(bad.sum())} others, from "
            f"{float(out.min()):.6g} to {float(out.max()):.6g}"
        )


def identity(z, scale):
    """scale I as (M, C, C)."""
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return (scale * eye).expand(len(z), -1, -1)

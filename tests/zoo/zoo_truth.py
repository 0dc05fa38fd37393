"""Right values: central differences of outputs, and curvatures by closed form."""

import math

import torch
from zoo_models import made

STEP = 1e-4


def parameters_of(model, names=None):
    """The parameters that count, once each, in the model's order."""
    return [
        p
        for name, p in model.named_parameters()
        if (p.requires_grad if names is None else name in names)
    ]


def head_parameters(model, name):
    """Class by class, the weights of the layer and then its bias, as views."""
    layer = dict(model.named_modules())[name]
    found = []
    for c in range(layer.weight.shape[0]):
        found.append(layer.weight.data[c])
        if layer.bias is not None:
            found.append(layer.bias.data[c : c + 1])
    return found


def jacobian(animal, parameters):
    """Outputs (M, C) and their derivatives (M, C, D), of fourth order in the step."""
    model, run = animal.model, animal.run
    columns = []
    with torch.no_grad():
        outputs = run(model, animal.inputs).clone()
        for parameter in parameters:
            flat = parameter.data.view(-1)
            for i in range(flat.numel()):
                kept, around = flat[i].item(), []
                for k in (-2, -1, 1, 2):
                    flat[i] = kept + k * STEP
                    around.append(run(model, animal.inputs).clone())
                flat[i] = kept
                far, near = around[3] - around[0], around[2] - around[1]
                columns.append((8 * near - far) / (12 * STEP))
    return outputs, torch.stack(columns, -1)


def curvature(outputs, family):
    """Lambda (M, C, C), written here for each family."""
    kind = type(family).__name__
    if kind == "NoneType":
        p = outputs.softmax(-1)
        return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    if kind == "Bernoulli":
        p = outputs.sigmoid()
        return torch.diag_embed(p * (1 - p))
    if kind == "Poisson":
        return torch.diag_embed(outputs.exp())
    if kind == "Gaussian":
        return torch.diag_embed(torch.full_like(outputs, 1 / family.variance))
    precision = (-outputs[:, 1]).exp()
    return torch.diag_embed(
        torch.stack([precision, torch.full_like(precision, 0.5)], 1)
    )


def truth(name, scope, prior):
    """{what: right value} of an animal, by D x D matrices of each example."""
    animal = made(name)
    if scope == "network":
        parameters = parameters_of(animal.model)
    else:
        parameters = head_parameters(_inside(animal.model), animal.head)
    outputs, rows = jacobian(animal, parameters)
    fisher = rows.mT @ curvature(outputs, animal.options.get("family")) @ rows
    eye = torch.eye(fisher.shape[1]).double()
    return {
        "eig": torch.linalg.slogdet(eye + fisher / prior)[1] / 2,
        "log det": torch.linalg.slogdet(eye + fisher.sum(0) / prior)[1],
        "trace": fisher.diagonal(dim1=1, dim2=2).sum(),
        "gram": torch.einsum("iab,jab->ij", fisher, fisher),
        "fisher": fisher,
    }


def found(roots, prior):
    """The same of Fisher roots: blocks of the Gram matrix by their squared norms."""
    from fimlib import information
    from fimlib.posterior import GaussianPosterior

    whole = information if hasattr(information, "gram_matrix") else _dual()
    post = GaussianPosterior.isotropic(roots.num_parameters, prior)
    r = roots.rank
    blocks = whole.gram_matrix(roots).view(len(roots), r, len(roots), r)
    rows = roots.dense()
    return {
        "eig": information.eig(roots, post),
        "log det": whole.log_det_fisher(roots, prior),
        "trace": whole.fisher_trace(roots),
        "gram": blocks.square().sum((1, 3)),
        "fisher": rows.mT @ rows,
    }


def _dual():
    from fimlib import dual

    return dual


def _inside(model):
    return getattr(model, "_orig_mod", getattr(model, "module", model))


def assert_right(values, right, tolerance=1e-6):
    """All values equal the right ones, relative to the largest."""
    for what, value in right.items():
        gap = (values[what] - value).abs().max().item()
        scale = value.abs().max().item()
        assert math.isfinite(gap) and gap <= tolerance * scale, (what, gap, scale)

"""Cross-checks against peers: `make peers-test`, in an environment of its own.

Every test of a `problem` runs four times: as it is, and with fimlib's Fisher
information made wrong by a factor, when it has to fail (a strict xfail). So no
comparison here is too weak to see a forgotten 1/2, 1/N or 1/C.
"""

import numpy as np
import pytest
import torch
from conversions import C, N, make_problem

# bmdal-reg 3.0.2 selects with np.Inf, a name that NumPy 2 took away.
if not hasattr(np, "Inf"):
    np.Inf = np.inf  # noqa: NPY201

FAULTS = {"twice": 2.0, "mean for sum": 1 / N, "mean over classes": 1 / C}


def planted(name, factor):
    mark = pytest.mark.xfail(
        raises=AssertionError, strict=True, reason=f"planted fault: {name}"
    )
    return pytest.param(factor, id=name.replace(" ", "-"), marks=mark)


@pytest.fixture(
    params=[pytest.param(1.0, id="right"), *(planted(*item) for item in FAULTS.items())]
)
def fault(request):
    """What fimlib's Fisher information is multiplied by."""
    return request.param


@pytest.fixture
def problem(fault):
    """The problem in float64, also the type of the constants that peers make."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield make_problem(torch.float64, fault)
    torch.set_default_dtype(before)


@pytest.fixture
def single_problem(fault):
    """The problem in float32."""
    return make_problem(torch.float32, fault)

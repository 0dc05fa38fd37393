"""One thread for the whole suite: its problems are small, and runs repeat exactly."""

import functools
import os

import pytest
import torch

torch.set_num_threads(1)
# Tests read what programs print, which may be in colour where these are set.
for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def decided():
    """decided("T9"): the report of a claim. Each claim is run once in a session."""
    from companion import claims

    return functools.cache(lambda id: claims.check(claims.all_claims()[id]))

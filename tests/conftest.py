"""One thread for the whole suite: its problems are small, and runs repeat exactly."""

import functools

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def decided():
    """decided("T9"): the report of a claim. Each claim is run once in a session."""
    from companion import claims

    return functools.cache(lambda id: claims.check(claims.all_claims()[id]))

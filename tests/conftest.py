"""One thread for the whole suite: its problems are small, and runs repeat exactly."""

import torch

torch.set_num_threads(1)

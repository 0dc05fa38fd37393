"""The MNIST network of Figures 2 and 3, with Monte-Carlo dropout done once per mask.

Dropout with p = 1/2 multiplies by 0 or 2. Both commute with max-pooling and ReLU, so a
mask may be applied after them, and one that all inputs share only removes channels: the
first convolution is computed once, and removed channels are never computed at all.
"""

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fimlib.figures.records import Arrays

Masks = tuple[Tensor, ...]  # one a dropped layer, (L, width) each
NUM_CLASSES = 10
WIDTHS = (32, 64, 128)  # the dropped layers: two convolutions, one dense layer
_CELLS = 16  # 4 x 4 positions a channel of the second convolution leaves


class DropoutCNN(nn.Module):
    """Two 5x5 convolutions and two dense layers, 184,586 parameters (Kirsch 2022)."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        with torch.device("meta"):  # no draw from the global generator
            self.conv1 = nn.Conv2d(1, 32, 5)
            self.conv2 = nn.Conv2d(32, 64, 5)
            self.fc1 = nn.Linear(64 * _CELLS, 128)
            self.fc2 = nn.Linear(128, NUM_CLASSES)
        self.to_empty(device="cpu")
        self._initialise(generator)

    def _initialise(self, generator: Generator) -> None:
        """PyTorch's default: uniform within 1 / sqrt(fan in), weights and biases."""
        for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
            bound = layer.weight[0].numel() ** -0.5
            for values in layer.parameters():  # weight, then bias
                nn.init.uniform_(values, -bound, bound, generator=generator)

    def forward(self, images: Tensor, masks: Masks | None = None) -> Tensor:
        """Logits (N,10) of images (N,1,28,28), with masks of ``draw_masks`` or none."""
        first, second, third = masks or (None, None, None)
        hidden = _drop(F.relu(F.max_pool2d(self.conv1(images), 2)), first)
        hidden = _drop(F.relu(F.max_pool2d(self.conv2(hidden), 2)), second)
        hidden = _drop(F.relu(self.fc1(hidden.flatten(1))), third)
        return self.fc2(hidden)


def _drop(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the masked-out channels or units and double the others."""
    if mask is None:
        return hidden
    return hidden * (2.0 * mask.reshape(mask.shape + (1,) * (hidden.dim() - 2)))


def draw_masks(count: int, generator: Generator) -> Masks:
    """Fair masks for the three layers, (count,32), (count,64), (count,128), bool."""
    return tuple(
        torch.randint(0, 2, (count, width), generator=generator).bool()
        for width in WIDTHS
    )


def prepare(images: np.ndarray) -> Tensor:
    """Images (N,28,28) uint8 as the network's input, (N,1,28,28) float32."""
    scaled = torch.from_numpy(np.ascontiguousarray(images)).float() / 255.0
    return ((scaled - 0.1307) / 0.3081).unsqueeze(1)


@torch.no_grad()
def mc_log_probs(
    net: DropoutCNN, images: Tensor, masks: Masks, chunk: int = 1000
) -> Tensor:
    """Log-probabilities (N,L,10) of images (N,1,28,28) under L consistent masks.

    Mask l holds for every image: the samples are draws of one model, as in BALD.
    """
    blocks = [_mc_block(net, block, masks) for block in images.split(chunk)]
    return torch.cat(blocks)


def _mc_block(net: DropoutCNN, images: Tensor, masks: Masks) -> Tensor:
    shared = F.relu(F.max_pool2d(net.conv1(images), 2))
    kept = (
        [row.nonzero().squeeze(1) for row in one] for one in zip(*masks, strict=True)
    )
    samples = [_thinned(net, shared, *indices) for indices in kept]
    return F.log_softmax(torch.stack(samples, dim=1), dim=-1)


def _thinned(net: DropoutCNN, shared: Tensor, *kept: Tensor) -> Tensor:
    """Logits when only the channels and units with these indices are kept."""
    first, second, third = kept
    weight = net.conv2.weight[second][:, first]
    # Doubling the weights that read a kept channel doubles the channel, exactly.
    _, bias = net.conv2.parameters()
    hidden = F.conv2d(shared[:, first], 2.0 * weight, bias[second])
    hidden = F.relu(F.max_pool2d(hidden, 2)).flatten(1)
    columns = (second[:, None] * _CELLS + torch.arange(_CELLS)).flatten()
    weight = net.fc1.weight[third][:, columns]
    hidden = F.relu(F.linear(hidden, 2.0 * weight, net.fc1.bias[third]))
    return F.linear(hidden, 2.0 * net.fc2.weight[:, third], net.fc2.bias)


@torch.no_grad()
def features(
    net: DropoutCNN, images: Tensor, chunk: int = 1000
) -> tuple[Tensor, Tensor]:
    """Deterministic last-layer features (N,128) and logits (N,10), dropout off."""
    blocks = []
    for block in images.split(chunk):
        hidden = F.relu(F.max_pool2d(net.conv1(block), 2))
        hidden = F.relu(F.max_pool2d(net.conv2(hidden), 2)).flatten(1)
        blocks.append(F.relu(net.fc1(hidden)))
    stacked = torch.cat(blocks)
    return stacked, net.fc2(stacked)


def to_arrays(net: DropoutCNN) -> Arrays:
    """The parameters by name, as float32 arrays."""
    return {name: value.detach().numpy() for name, value in net.named_parameters()}


def from_arrays(arrays: Arrays) -> DropoutCNN:
    """The network with the parameters that ``to_arrays`` gave."""
    net = DropoutCNN(torch.Generator())
    net.load_state_dict({k: torch.from_numpy(arrays[k]) for k in net.state_dict()})
    return net

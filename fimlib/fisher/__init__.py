"""Per-example Fisher information as roots R_i (r, D) with F_i = R_i^T R_i (T13-T16).

Nothing here forms a D x D matrix per example: what the scores need is the Gram block
R_i A R_i^T (r, r) of a root against one matrix, and the sum of all F_i. Roots of a last
layer are held in Kronecker form, those of a whole network or of a data loader are
computed as they are needed; all have the methods of `FisherRoots`, and every score
takes any of them. The observed information is indefinite, has no root, and stands
apart.
"""

from fimlib._checks import guard
from fimlib.fisher.approximate import DiagonalRoots, Sketch
from fimlib.fisher.kronecker import KroneckerRoots, embed
from fimlib.fisher.last_layer import last_layer_roots
from fimlib.fisher.layered import LayeredRoots
from fimlib.fisher.loader import LoaderRoots, roots_from_loader
from fimlib.fisher.network import NetworkRoots, network_roots
from fimlib.fisher.observed import observed_information
from fimlib.fisher.roots import FisherRoots
from fimlib.fisher.streamed import StreamedRoots

__all__ = [
    "DiagonalRoots", "FisherRoots", "KroneckerRoots", "LayeredRoots", "LoaderRoots",
    "NetworkRoots", "Sketch", "StreamedRoots", "embed", "last_layer_roots",
    "network_roots", "observed_information", "roots_from_loader",
]  # fmt: skip

guard(globals())

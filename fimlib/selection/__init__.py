"""From scores or Fisher roots to a batch: a `Selection` in order of choice.

Every method returns `Selection(indices, gains)` with K indices into the pool.
"""

from fimlib._checks import guard
from fimlib.selection.distances import badge, k_means_pp, lcmd, max_dist
from fimlib.selection.dpp import k_dpp
from fimlib.selection.greedy import greedy_log_det
from fimlib.selection.mutual import log_det_cg, log_det_cmi, log_det_mi
from fimlib.selection.prediction import batch_bald
from fimlib.selection.result import Selection
from fimlib.selection.sparse import frank_wolfe
from fimlib.selection.top import stochastic_top_k, top_k
from fimlib.selection.trace_design import bait

__all__ = [
    "Selection", "badge", "bait", "batch_bald", "frank_wolfe", "greedy_log_det",
    "k_dpp", "k_means_pp", "lcmd", "log_det_cg", "log_det_cmi", "log_det_mi",
    "max_dist", "stochastic_top_k", "top_k",
]  # fmt: skip

guard(globals())

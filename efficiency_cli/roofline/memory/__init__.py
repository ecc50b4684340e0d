"""How much memory a run needs, where each tensor lies, and whether it fits.

live      who is alive when: one block for each tensor that takes room
bodies    what If, Loop and Scan keep alive while their bodies run
policy    which results may lie over operands, scratch, and what the runtime adds
plan      offsets in one arena, and the bound no plan gets under
order     schedules with a lower peak
flash     what is stored: weights, biases, constants, scales, code
fit       level by level: what fits, what spills
what_if   the same network in int8, smaller or one at a time; the largest batch and context
"""

from efficiency_cli.roofline.memory.fit import Fit, fit
from efficiency_cli.roofline.memory.live import LiveSet, live_set

__all__ = ["Fit", "LiveSet", "fit", "live_set"]

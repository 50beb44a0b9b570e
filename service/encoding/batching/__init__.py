"""Which rows the model sees together, and when.

`plan` splits rows that are all known; `schedule` decides for a queue that lives, lane by lane
(`lane`), and both are pure. `batcher` is the thin loop around the schedule: it answers each caller
of `submit`. `admission` refuses what would not fit, `repeats` remembers vectors, `counters` says
how it goes.
"""

from service.encoding.batching.admission import TokenLedger
from service.encoding.batching.batcher import MAX_WHOLE_ROWS, Batcher, Load
from service.encoding.batching.counters import QueueState
from service.encoding.batching.plan import PADDING_SHARE, plan_batches
from service.encoding.batching.schedule import Priority

__all__ = [
    "MAX_WHOLE_ROWS",
    "PADDING_SHARE",
    "Batcher",
    "Load",
    "Priority",
    "QueueState",
    "TokenLedger",
    "plan_batches",
]

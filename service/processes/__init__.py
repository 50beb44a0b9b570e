"""Several processes behind one port.

`supervisor` forks the workers and watches over them; `report` is what a worker tells it, in the
messages of `control`. A new bundle is a `rollout` in the supervisor, which the workers are
`following`. Workers ask each other for their metrics: `siblings`.
"""

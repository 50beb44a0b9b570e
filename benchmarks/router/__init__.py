"""How often, and how fast, the granularity router is right on text that it was not tuned on.

    python -m benchmarks.router --data DATA

`sources` says which corpora give texts of which class, `rows` picks the rows that are measured,
`report` prints how they are routed, and `fitting` fits the router's weights on the training part.
"""

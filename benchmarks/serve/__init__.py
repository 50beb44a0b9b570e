"""The service against other embedding servers, on the same weights, in one run.

`docs/benchmarks.md` says how to run it and how to read what it prints. As the data flows:
`environments` and `weights` set up, `contestants` lists who is measured, `processes` starts and
pauses them, `agreement` checks that they compute the same, `scenarios` says what is asked of them,
`load` asks it, `run` takes the contestants in turn, `report` prints.
"""

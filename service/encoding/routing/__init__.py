"""The steps of `service.encoding.granularity.route`, in the order in which it takes them.

1. `scripts`: which script a text is in, and how long one sentence of it may be;
2. `boundaries`: whether a mark divides the text, or closes it (`full_stops`: the doubtful mark);
3. `markless`: what is shown where no mark tells (`cues`: its words, `weights`: its fitted weights).
"""

"""Ablations: arms trained over seeds, measured alike, and claims about them marked.

plan.py      what a plan file says: recipe, tables of arms, measures, claims, published figures
jobs.py      a plan's arms and seeds as the runs that they need
cost.py      roughly what a run takes
subset.py    a smaller corpus, the same every time
reader.py    a run's adapters, fresh or trained, as an encoder of the evaluation
scores.py    what a run measured, kept in its folder
runner.py    train and measure what is not done yet
results.py   the rows of a table: mean and spread over seeds
claims.py    the rule by which a claim is marked
markdown.py, page.py, plot.py   tables for people
command.py   the body of `polygrain-train ablate`
"""

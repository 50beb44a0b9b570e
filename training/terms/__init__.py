"""What a stage minimises: the sum of terms that its recipe names, each times its weight.

recipe.py          the names, and the parameters of each
term.py            what a term is given, and what it gives
views.py           vectors that teach and are not trained: a teacher's, the plain backbone's
vectors.py         terms over the pooled vectors of the pairs, which they share
negatives.py, transliteration.py, crops.py, late.py, masked.py, words.py
                   terms with rows of their own
backward.py        one forward and backward pass over a batch in chunks
total.py           the sum of a stage
"""

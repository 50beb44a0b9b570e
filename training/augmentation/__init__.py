"""Noise for training texts: small functions of a text, a rate and a random generator.

Each leaves the text as it is at rate 0, never leaves it empty, keeps combining marks with their
base, and depends on the generator alone.
"""

"""Fit a bundle's calibration: texts nobody learned from → candidates → curves → a new bundle."""

"""Classifiers of real and corrupted sprites: the detector chooses, and the judge only reports."""

"""The classifiers that tell real sprites from others: the detector chooses, the judge only reports."""

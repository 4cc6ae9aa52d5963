"""The stages, each a verb of its own; `pipeline.py` puts them in order."""

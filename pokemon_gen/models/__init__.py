"""Models: build one, keep it on disk, load it, measure its likelihood."""

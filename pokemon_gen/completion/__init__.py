"""Completion: prompts → whole sprites, one or several of each, and the best of them."""

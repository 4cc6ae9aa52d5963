"""Completion: from prompts to full sprites, with one or several candidates of which the best is kept."""

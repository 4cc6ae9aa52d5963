"""What a sprite measures (homework): numbers that every room needs, and no library does."""

SIDE = 20
"""Pixels along each side of a sprite."""
LENGTH = SIDE * SIDE
"""Tokens in a sprite: 400, row by row."""
PROMPT_LENGTH = 240
"""Tokens given of a test sprite: the top 12 rows, 60 %."""
COMPLETION_LENGTH = LENGTH - PROMPT_LENGTH
"""Tokens to be completed: the bottom 8 rows, 160 tokens, 40 %."""
BACKGROUND = 0
"""The background's token (white in the homework's palette)."""
PALETTE_NAME = "palette.json"
"""The palette's file inside a checkpoint."""

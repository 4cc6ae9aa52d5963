"""Numbers and names that every package needs: the size of a sprite (homework), and where files go."""

from pathlib import Path

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
SETTINGS_NAME = "settings.json"
"""The resolved settings' file, inside a run and inside each of its checkpoints."""
CHECKPOINTS = Path("checkpoints")
"""The folder of all runs, in the working directory."""
SUBMISSIONS = Path("submissions")
"""The folder of all submissions, in the working directory."""
RESULTS = Path("eval/results")
"""The folder of everything that people look at, in the working directory."""
FEATURES = RESULTS / "features"
"""The folder of Inception features already computed."""

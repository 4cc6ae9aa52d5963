"""Constants of the package: the size of a sprite (from the homework) and the paths of outputs."""

from pathlib import Path

SIDE = 20
"""Number of pixels along each side of a sprite."""
LENGTH = SIDE * SIDE
"""Number of tokens in a sprite: 400, row by row."""
PROMPT_LENGTH = 240
"""Number of tokens in a prompt: the top 12 rows, 60 % of a sprite."""
COMPLETION_LENGTH = LENGTH - PROMPT_LENGTH
"""Number of tokens in a completion: the bottom 8 rows, 160 tokens, 40 % of a sprite."""
BACKGROUND = 0
"""Token of the background colour (white in the homework's palette)."""
PALETTE_NAME = "palette.json"
"""Name of the palette's file inside a checkpoint."""
SETTINGS_NAME = "settings.json"
"""Name of the file with the resolved settings, inside a run's folder and inside each of its checkpoints."""
SCRATCH = "scratch"
"""The `model_type` of the Transformer that is written from the equations; see `models/scratch.py`."""
MEASURING_SEED = 20251108
"""Seed of all random draws of an evaluation, so that equal sprites always get equal metrics."""
CHECKPOINTS = Path("checkpoints")
"""Folder of all runs, relative to the working directory."""
SUBMISSIONS = Path("submissions")
"""Folder of all submissions, relative to the working directory."""
RESULTS = Path("eval/results")
"""Folder of scorecards, pictures and plots, relative to the working directory."""
BASELINES = "eval/baselines.yaml"
"""The homework's bars, in the repository and in an installed package."""
SCORECARD_NAME = "scorecard.json"
"""Name of a scorecard's file in the folder of a run's results."""
FEATURES = RESULTS / "features"
"""Folder of cached Inception features."""

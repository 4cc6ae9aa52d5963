"""Where sprites come from: `generated`, `hub:`, `text:` and `images:`, all giving the same `Sprites`."""

"""Where sprites come from: `procedural`, `hub:`, `text:` and `images:`, all giving the same `Sprites`."""

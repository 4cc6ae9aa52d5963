"""The sources of sprites (`procedural`, `hub:`, `text:` and `images:`), which all give the same `Sprites`."""

"""Configs: YAML files and overrides → `Settings`, with the place of every mistake."""

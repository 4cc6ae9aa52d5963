"""Configs: YAML files and overrides → `Settings`. Every mistake is reported with its place."""

"""The quality of completions: Inception distances, pixel metrics, the memorisation check, the scorecard."""

"""How good completions are: distances, a detector that chooses, a judge that only reports, the scorecard."""

"""Studies: what changes if one thing of a run is varied, with intervals, a chart and a page."""

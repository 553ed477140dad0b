"""One self-contained HTML page of pictures with heatmaps; it knows plain data only."""

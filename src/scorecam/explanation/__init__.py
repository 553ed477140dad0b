"""The result: one heatmap, what it was made from, how far to trust it, and its picture."""

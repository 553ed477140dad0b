"""Networks in files that compute a heatmap themselves."""

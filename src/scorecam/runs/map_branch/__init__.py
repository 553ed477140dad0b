"""Networks that compute a heatmap themselves: fitted, measured and saved."""

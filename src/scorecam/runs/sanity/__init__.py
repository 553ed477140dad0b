"""The sanity check: whether the maps change when the weights change."""

"""Models that are a `torch.nn.Module`."""

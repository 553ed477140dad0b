"""EfficientNet-Lite0 in the forms that are deployed."""

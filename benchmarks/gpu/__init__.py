"""Score-CAM on one graphics card: this package, two others, and plain passes."""

"""Where the positions of an image are in the tensors that a network computes from it."""

"""Files of numbers: NumPy arrays, tensors, pictures of many bands or bits, and medical files."""

"""What tasks explain, measured on networks with known answers and on real ones."""

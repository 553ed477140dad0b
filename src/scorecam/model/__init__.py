"""Models behind one interface: inputs, scores, heads, targets, labels, engines and batches."""

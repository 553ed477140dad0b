"""Networks that are explicit graphs of tensors, whatever file and runtime they belong to."""

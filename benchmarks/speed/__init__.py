"""The speed of maps, and how close reduced budgets come to exact maps."""

"""Ways to explain an image: Score-CAM, the baselines, and the controls."""

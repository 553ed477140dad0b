"""What runs models, and how one is opened."""

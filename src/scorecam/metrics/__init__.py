"""How good a heatmap is: faithfulness, localisation, similarity, and their statistics."""

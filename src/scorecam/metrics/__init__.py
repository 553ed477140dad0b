"""How good a heatmap is: the measures of the paper, and the ones it is criticised with."""

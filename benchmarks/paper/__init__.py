"""The experiments of the Score-CAM paper, repeated here."""

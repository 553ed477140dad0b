"""The ways to explain that Score-CAM is compared with: one file per library wrapped."""

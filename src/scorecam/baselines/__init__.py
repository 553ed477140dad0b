"""The ways to explain that Score-CAM is compared with: one file per library wrapped.

Every one is a `Method` and explains the same column, and where it looks at a layer, the same
tensor of it, as Score-CAM does. None of the files imports its library before it is used.
"""

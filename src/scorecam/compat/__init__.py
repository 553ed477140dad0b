"""The call shapes of other packages, and the maps they give, on this package's scoring.

Each module composes a masking, a reading of the bank and an output scaling; `docs/` has a page per
package on what differs.
"""

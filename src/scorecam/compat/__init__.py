"""The calls and the maps of other packages, computed by this package.

Each module combines a masking, a way to read the bank and an output scaling. `docs/` has a page per
package with the differences.
"""

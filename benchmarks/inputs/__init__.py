"""Are inputs of every kind explained right, with real networks?"""

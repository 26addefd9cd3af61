"""The index against the state, point by point: drift, and a lost state rebuilt from the points.

Reads the index and never writes it; what is found goes into the state, and the next plan repairs it.
"""

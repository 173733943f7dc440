"""Ensembles: what of an output is a prediction, and the average of several models' predictions."""

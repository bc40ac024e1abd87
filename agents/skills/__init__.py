"""Tools for which the model itself is asked."""

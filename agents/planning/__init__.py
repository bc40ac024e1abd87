"""The runtime of programs in which the model itself chooses what to do next."""

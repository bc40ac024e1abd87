"""Decoding in confined processes: a hostile video costs a worker, not the service.

One process with everything imported (`server`) forks a worker for each task; `fence` says what a worker may do;
`Sandbox` is the decoder that the rest of the house sees.
"""

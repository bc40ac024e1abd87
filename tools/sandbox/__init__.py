"""Decoding in confined processes: a hostile video costs a worker, not the service.

One process with everything imported (`server`) forks a worker for each task; `restrictions` confine it.
`client.Sandbox` is the decoder that the service uses.
"""

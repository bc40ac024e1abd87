"""Open an engine by its URL.

`scripted:` (replies with a fixed text, for trying the service without a model) ·
`openai:http://host:port/v1?model=NAME` (any OpenAI-compatible server) ·
`transformers:FOLDER-OR-ID?device=cpu` (in process) · `demo:` (the model that this project ships, in process).
"""

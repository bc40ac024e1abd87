"""OpenAI's chat completions as a second face of the same path: a conversation becomes a question, a report a reply."""

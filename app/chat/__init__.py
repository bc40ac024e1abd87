"""OpenAI's chat completions: a conversation becomes an answer request, its answer a completion."""

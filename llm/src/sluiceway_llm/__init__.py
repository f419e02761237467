"""Model servers that speak the OpenAI chat API, for the services that call one: the chat worker and the tool runner."""

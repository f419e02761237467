"""What a model is sent of a conversation, so that it fits the model's window: counted, summarised, shortened."""

"""What the model is sent: the system prompt, the stored conversation, and the files that came with it."""

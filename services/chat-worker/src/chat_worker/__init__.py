"""The chat worker: takes turns from the queue and calls the model, one step at a time."""

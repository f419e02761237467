"""What the worker services are built from, on top of queue and store."""

"""The application around the routes, and the server under it."""

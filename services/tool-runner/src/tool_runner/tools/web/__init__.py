"""What `web_fetch` is made of."""

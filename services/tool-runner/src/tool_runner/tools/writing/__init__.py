"""What `generate_outline` and `generate_document` are made of."""

"""What requests and answers look like: models, parameters, cursors, problems."""

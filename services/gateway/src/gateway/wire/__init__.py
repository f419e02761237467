"""What goes over the wire to browsers: event streams as HTTP responses."""

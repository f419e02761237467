"""From routes as data to served routes, and to the OpenAPI document."""

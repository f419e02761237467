"""What turns call: tools, their operations and jobs, agents, and the webhooks that end them."""

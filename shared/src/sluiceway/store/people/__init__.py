"""What belongs to a person or a service: usage, keys, what is known of them, all that is stored of one."""

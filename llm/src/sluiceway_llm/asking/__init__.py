"""What a server is asked, in the way that it wants to be asked."""

"""What a server says, read as odd as it comes."""

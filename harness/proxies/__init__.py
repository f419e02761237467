"""What stands between two processes, and can slow, cut or hold what passes."""

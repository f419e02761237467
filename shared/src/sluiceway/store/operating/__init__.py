"""What operators and the reconciler see and clear away: backlog, dead letters, old rows, lost time."""

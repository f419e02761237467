"""sluicewayctl: what an operator does by hand."""

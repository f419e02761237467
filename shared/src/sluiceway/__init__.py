"""What the services of Sluiceway share: wire contracts and infrastructure."""

"""The completion consumer. Today it is the reconciler: what was accepted keeps moving, whatever was lost in between."""
